"""Metrics of labelled papers: F1, calibration, bootstrap intervals and selective classification."""
