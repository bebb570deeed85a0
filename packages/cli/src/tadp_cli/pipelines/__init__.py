"""What the commands do, callable from Python: each composes the four packages over files."""
