"""The number of cores that this process may use, limited by its quota.

In a container with a quota of two cores on a machine with 64, the system still reports 64. With a
thread on each of them the container would be throttled most of the time, and all threads would wait
for the throttled ones.
"""

import math
import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def usable_cores(control_group: Path = _CONTROL_GROUP) -> int:
    """Return the smallest of the machine's cores, the process's affinity and its quota.

    Args:
        control_group: The folder in which Linux shows this process's control group.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    quota = _quota(control_group)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(control_group: Path) -> float | None:
    """Return the quota in cores, by version 2 or 1 of control groups; None without a limit.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, ``cpu.max``, and
    Documentation/scheduler/sched-bwc.rst.
    """
    try:
        quota, period = (control_group / "cpu.max").read_text("ascii").split()
    except (OSError, ValueError):
        try:
            folder = control_group / "cpu"
            quota = (folder / "cpu.cfs_quota_us").read_text("ascii")
            period = (folder / "cpu.cfs_period_us").read_text("ascii")
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return share if share > 0 else None  # version 1 says -1
