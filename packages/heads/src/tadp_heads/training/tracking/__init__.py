"""Experiment trackers, and the panel of validation images that they show."""
