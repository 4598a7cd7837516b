"""Readers of the public dumps, one module per format, with the mark-up that their texts hold."""
