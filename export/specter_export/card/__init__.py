"""The model card of a bundle: what the model does, how good it is, what was not checked, and how to load it."""
