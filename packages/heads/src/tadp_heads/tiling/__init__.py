"""Large images in overlapping windows, with memory that does not grow with the image."""
