"""Export: makes a model bundle from a training run, and compares every graph in it with the Torch model."""
