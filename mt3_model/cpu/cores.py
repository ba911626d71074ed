"""How many cores this process may keep busy: the machine's, its own, and those paid for.

A container with a quota of two cores on a machine of 64 sees 64. With a thread on each of them it
would be stopped most of the time, and every thread would wait for those that are.
"""

import math
import os
from pathlib import Path

_CONTROL_GROUP = Path("/sys/fs/cgroup")


def usable_cores(control_group: Path = _CONTROL_GROUP) -> int:
    """The fewest of the cores that there are, that it may run on, and that its quota pays for.

    Args:
        control_group: Where Linux shows the quota of this process's control group.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    quota = _quota(control_group)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(control_group: Path) -> float | None:
    """Cores' worth of time in each period, by version 2 or 1 of control groups; None: no limit.

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
