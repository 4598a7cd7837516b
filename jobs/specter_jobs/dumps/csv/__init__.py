"""Rows of CSV and TSV files, in the layouts that real exporters write."""
