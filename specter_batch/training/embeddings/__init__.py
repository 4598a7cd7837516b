"""Embeddings of papers: computed, cached, written to parquet and drawn."""
