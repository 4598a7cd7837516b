"""Readers of the public dumps, one module per format, and the removal of mark-up from their texts."""
