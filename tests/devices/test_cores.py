"""Cores that affinity and control groups grant, and what OpenMP is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefboost.devices import cores
from prefboost.devices.cores import limit_threads, set_thread_environment, usable_cores


def put_groups(monkeypatch: pytest.MonkeyPatch, root: Path, membership: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    (root / "self").write_text(membership, encoding="utf-8")
    monkeypatch.setattr(cores, "_CGROUPS", root)
    monkeypatch.setattr(cores, "_MEMBERSHIP", root / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}, 3),
        ("0::/a\n", {"a/cpu.max": "50000 100000\n"}, 1),
        ("4:memory:/x\n3:cpu:/j\n", {"cpu/j/cpu.cfs_quota_us": "400000", "cpu/j/cpu.cfs_period_us": "100000"}, 4),
        ("3:cpu,cpuacct:/j\n", {"cpu/j/cpu.cfs_quota_us": "-1", "cpu/j/cpu.cfs_period_us": "100000"}, 16),
        ("0::/gone\n", {}, 16),
    ],
)  # fmt: skip
def test_quotas_of_all_enclosing_groups_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, membership: str, files: dict[str, str], expected: int
) -> None:
    put_groups(monkeypatch, tmp_path, membership, files)
    assert usable_cores() == expected


def test_affinity_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    put_groups(monkeypatch, tmp_path, "0::/\n", {})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert usable_cores() == 1


def test_openmp_sleeps_where_other_programs_want_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    busy: dict[str, str] = {}
    set_thread_environment(busy, load=3.0)
    assert busy == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
    alone: dict[str, str] = {}
    set_thread_environment(alone, load=0.2)
    assert alone == {"OMP_NUM_THREADS": "2"}
    rows_of_model = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE"}
    set_thread_environment(rows_of_model, load=9.0)
    assert rows_of_model == {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE"}, "the user's own settings stay"
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    free: dict[str, str] = {}
    set_thread_environment(free, load=0.0)
    assert free == {}


@pytest.mark.torch
def test_torch_gets_no_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    threads = [5]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(cores, "usable_cores", lambda: 3)
    limit_threads()
    assert threads == [5, 3]
    limit_threads()
    assert threads == [5, 3], "three are not too many"
