"""Labelling: rows are prepared, the model runs in an engine, and its answers become label files."""
