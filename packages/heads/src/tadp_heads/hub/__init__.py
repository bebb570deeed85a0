"""Models on the Hugging Face Hub: their cards, and their upload and download."""
