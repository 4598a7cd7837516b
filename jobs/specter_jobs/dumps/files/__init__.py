"""Find, order, decompress and decode the input files of a dump."""
