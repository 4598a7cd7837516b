"""Papers: their columns in parquet, the text that a model reads, their labels and their language."""
