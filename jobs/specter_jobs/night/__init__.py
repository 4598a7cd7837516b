"""A night from its input to `_SUCCESS`."""
