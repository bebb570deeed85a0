"""A run outside of training: exported to a file, and measured on a machine."""
