"""Label papers: prepare rows, run the model in an engine, and write its answers to label files."""
