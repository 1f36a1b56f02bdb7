"""The trained method at work: features, checkpoints, predictions, recogniser, profiling."""
