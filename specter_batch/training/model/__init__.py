"""The encoder with its classification head, as a transformers model."""
