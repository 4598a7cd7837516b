"""The Python API: labels the papers of a DataFrame or an Arrow table with a bundle."""
