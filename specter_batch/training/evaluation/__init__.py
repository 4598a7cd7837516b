"""Evaluation of runs and bundles on labelled papers, and the baseline on frozen embeddings."""
