"""The training loop of both methods."""
