"""A captioner that knows the classes: which of them are likely in each image, learnt from the source's labels."""
