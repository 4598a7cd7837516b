"""The way from texts to batches of token ids."""
