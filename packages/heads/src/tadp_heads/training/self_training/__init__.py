"""Training on unlabelled images of a target domain by a teacher's confident predictions."""
