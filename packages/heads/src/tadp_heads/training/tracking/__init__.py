"""What shows a training: experiment trackers with their panel of images, a page with curves, a line of text."""
