"""Vision transformers (DINOv2, DINOv3, CLIP, SigLIP 2) as feature extractors."""
