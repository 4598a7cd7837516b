"""Servers for the tests, and the loaders of the pages that talk to them."""
