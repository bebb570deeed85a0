"""Files of learned tokens, and the parts of a diffusion pipeline."""
