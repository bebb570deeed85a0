"""Feature pyramid in; prediction, loss and score out; data sets of the three tasks."""
