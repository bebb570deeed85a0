"""`tadp serve`: a run's model behind HTTP. The server imports no torch: a process of its own holds the model."""
