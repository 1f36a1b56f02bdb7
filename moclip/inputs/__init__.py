"""From motion or frames to a network's input: sampling, crops, scaling, views, batches."""
