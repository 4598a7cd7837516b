"""Finds the files of an input. Each file is read, ignored with a stated reason, or failed."""
