"""Export: from a training run to a model bundle whose graphs are proven equal to Torch."""
