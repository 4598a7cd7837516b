"""Embeddings of papers in a parquet file, from any model that gives them."""
