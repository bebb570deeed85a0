"""The text of each image: captions, class names, image tags."""
