"""Learned tokens, LoRAs and UNets on the Hugging Face Hub: their upload and download."""
