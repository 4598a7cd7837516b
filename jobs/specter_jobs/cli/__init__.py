"""The commands of the nightly job. Each one parses its options, calls one function and prints the result."""
