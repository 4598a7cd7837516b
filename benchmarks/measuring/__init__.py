"""Shared parts of the benchmarks: papers, measured processes, facts of the machine, tables and pictures."""
