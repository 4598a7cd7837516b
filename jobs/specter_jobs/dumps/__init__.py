"""Convert public paper dumps to the project's papers parquet, with one reader for each format."""
