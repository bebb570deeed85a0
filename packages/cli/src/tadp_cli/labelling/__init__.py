"""Labelling with a run: class names chosen per image, proposals, what to label next."""
