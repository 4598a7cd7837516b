"""How many cores this process may use."""

import os
from pathlib import Path

# The CPU quota of cgroup v2: microseconds of CPU per period, and the length of the period; "max" means no limit.
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus() -> int:
    """Return the number of cores this process may use, by its CPU affinity and its cgroup's quota."""
    return cores_within(CGROUP_QUOTA, affinity_cores())


def affinity_cores() -> int:
    """Return the number of cores in this process's CPU affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_within(quota_file: Path, cores: int) -> int:
    """Return how many of `cores` a cgroup's quota allows; all of them if there is no quota."""
    try:
        quota, period = quota_file.read_text().split()
        return cores if quota == "max" else min(cores, max(int(quota) // int(period), 1))
    except (OSError, ValueError):  # no cgroup v2 here
        return cores
