"""A run on videos."""
