"""Textual Inversion and DreamBooth."""
