"""The ways to run the model that side_by_side.py compares, their rounds and their figures."""
