"""Public paper dumps, each by its own reader, into canonical papers parquet."""
