"""How many cores this process may use."""

import os
from pathlib import Path

# Of cgroup v2: microseconds of CPU in each period, and the period; "max" without a limit.
CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cpus() -> int:
    """Return the cores this process may use: its CPU affinity, cut down to its cgroup's quota."""
    return cores_within(CGROUP_QUOTA, affinity_cores())


def affinity_cores() -> int:
    """Return the cores this process may be put on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores_within(quota_file: Path, cores: int) -> int:
    """Return the cores that a cgroup's quota leaves of `cores`: all of them where there is no quota."""
    try:
        quota, period = quota_file.read_text().split()
        return cores if quota == "max" else min(cores, max(int(quota) // int(period), 1))
    except (OSError, ValueError):  # no cgroup v2 here
        return cores
