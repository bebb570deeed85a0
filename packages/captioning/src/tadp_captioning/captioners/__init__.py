"""Captioning models: local ones of transformers, and servers with OpenAI's API."""
