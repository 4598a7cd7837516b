"""Dumps for the tests."""
