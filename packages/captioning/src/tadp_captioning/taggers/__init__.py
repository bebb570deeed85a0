"""Image taggers: how likely each class is in an image."""
