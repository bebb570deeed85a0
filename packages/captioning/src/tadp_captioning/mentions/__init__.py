"""Which classes a caption mentions, by words or by embeddings."""
