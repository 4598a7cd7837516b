"""Run a night, from its input to `_SUCCESS`."""
