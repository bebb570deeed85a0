"""What `tadp predict` is asked for, and the images that it reads."""
