"""Readers of data sets: the official layouts, and a user's own folders."""
