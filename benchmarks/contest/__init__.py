"""The methods that side_by_side.py compares, their rounds and their figures."""
