"""Processes that train together: how they share images, statistics and weights."""
