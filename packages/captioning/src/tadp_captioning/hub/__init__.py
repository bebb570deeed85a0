"""Captions as data sets of the Hugging Face Hub."""
