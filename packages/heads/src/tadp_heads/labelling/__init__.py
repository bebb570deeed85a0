"""What helps to label images: predictions under many texts, and which images to label next."""
