"""Videos, frame by frame: shots, predictions, how they change from frame to frame (extra: tadp-heads[video])."""
