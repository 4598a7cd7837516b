"""A student: a model with fewer layers that learns from the logits of a trained one, its teacher."""
