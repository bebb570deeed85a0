"""Experiments on a backbone alone: where maps lie, and what images become under a text."""
