"""Prompts made from class names, labels or captions."""
