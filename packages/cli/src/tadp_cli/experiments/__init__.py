"""Experiments composed of pipelines: the demo, reproductions, analyses."""
