"""Heads in checkpoints of the paper's public code, and what they were trained on (docs/reference.md)."""
