"""Removing the words for a domain from captions."""
