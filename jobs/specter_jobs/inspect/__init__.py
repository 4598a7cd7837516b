"""Commands that read an output folder and change nothing: status and verify."""
