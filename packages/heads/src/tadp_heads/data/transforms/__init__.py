"""Augmentations for training, over tv_tensors."""
