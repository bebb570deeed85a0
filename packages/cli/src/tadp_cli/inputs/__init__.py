"""What pipelines need before they begin: images, captions, weights, and their checks."""
