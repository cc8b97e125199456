"""Cores that this process may use, and threads that leave room for others.

A container or a job scheduler often grants fewer cores than the machine has. Libraries that start one thread per core
of the machine then wait for each other most of the time.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

__all__ = ["limit_threads", "set_thread_environment", "usable_cores"]

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Count the cores that this process may use: its CPU affinity and the quotas of its control groups, at least 1."""
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = _MEMBERSHIP.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        # Version 2 has one hierarchy without controllers in this line; version 1 has one for the CPU.
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = _CGROUPS if not controllers else _CGROUPS / "cpu"
        folder = base / path.lstrip("/")
        # Every group from the innermost out may grant less; unlimited ones have no quota.
        groups = [folder, *folder.parents]
        quotas += [quota for group in groups[: groups.index(base) + 1] if (quota := _read_quota(group)) is not None]
    return max(1, min([granted, *map(math.ceil, quotas)]))


def limit_threads() -> None:
    """Let torch compute with at most `usable_cores` threads; fewer stay as they are set (``OMP_NUM_THREADS``)."""
    import torch

    cores = usable_cores()
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)


def set_thread_environment(environment: MutableMapping[str, str], load: float | None = None) -> None:
    """Set what OpenMP reads once, when torch is loaded. What the user has set stays.

    Threads of OpenMP spin while they wait for work. Where other programs want the same cores, spinning delays both
    sides; the threads then sleep instead.

    Args:
        environment: of this process, before torch is imported.
        load: processes that want to run, on average over the last minute; default: the system's.
    """
    cores = usable_cores()
    if cores < (os.cpu_count() or 1):
        environment.setdefault("OMP_NUM_THREADS", str(cores))
    if load is None:
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > cores / 2:
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _read_quota(group: Path) -> float | None:
    """Read the cores that a group grants: ``cpu.max`` (version 2) or ``cpu.cfs_quota_us`` (version 1)."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8").strip() for name in ("quota", "period")
            )
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
