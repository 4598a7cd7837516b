"""What the benchmarks measure with: papers, processes, machine, and pages with pictures of the figures."""
