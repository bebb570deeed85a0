"""The images of a domain, and their captions."""
