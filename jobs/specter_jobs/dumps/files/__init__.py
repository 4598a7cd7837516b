"""Input files of a dump: found, ordered, decompressed and decoded."""
