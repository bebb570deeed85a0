"""Images inside large files."""
