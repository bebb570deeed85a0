"""Low-rank adaptation (LoRA) of a backbone."""
