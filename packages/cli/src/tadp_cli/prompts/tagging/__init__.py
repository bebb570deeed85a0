"""A captioner that knows the classes: which of them are likely in each image, learned from the source's labels."""
