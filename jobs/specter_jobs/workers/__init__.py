"""Tasks over workers: who works on what, and what happens when a worker dies. The ingest and the engines share it."""
