"""Training: the loop, its state on disk, the motion network and the heads."""
