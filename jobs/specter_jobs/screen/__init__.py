"""Find the rows that need the model: screening, duplicates and labels of earlier nights."""
