"""Distribute tasks to workers and handle workers that die; used by the ingest and by the engines."""
