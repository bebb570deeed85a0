"""Scenes: a procedural data set with masks, boxes, depth and captions in several domains."""
