"""Which rows need the model: screening, duplicates and labels of earlier nights."""
