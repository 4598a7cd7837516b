"""The graphs of a bundle, one module for each step of making one."""
