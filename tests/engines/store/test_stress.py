"""Stores under stress: killed processes and a full disk. The full size is in benchmarks/store_stress.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import store_stress
from store_stress import query, stress

from prefboost.engines.store.opening import open_store

FILL = """
import resource, signal, sys
sys.path.insert(0, sys.argv[3])
from store_stress import query
from prefboost.engines.store.opening import open_store
from prefboost.errors import RunError
if sys.argv[2] != "-":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    with open_store(sys.argv[1]) as store:
        for number in range(400):
            store.claim([query(number)])
            store.finish([(query(number), {"text": f"{number} {number ** 200}"})])
            print(number, flush=True)
except RunError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""


@pytest.mark.parametrize("prefix", ["", "segments:"])
def test_processes_that_are_killed_lose_nothing_and_keep_nothing_twice(prefix: str, tmp_path: Path) -> None:
    outcome = stress(f"{prefix}{tmp_path / 'store'}", tmp_path, rows=600, processes=3, kills=3)
    assert (outcome.rows, outcome.lost, outcome.doubled, outcome.changed) == (600, 0, 0, 0)
    assert outcome.killed == 3 and outcome.acknowledged >= 600 - 3 * 16
    assert not prefix or outcome.computed_twice == 0


@pytest.mark.parametrize("prefix", ["", "segments:"])
def test_a_full_disk_is_named_and_what_is_stored_stays_and_goes_on(prefix: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    # A disk of its own where that may be made, else no file may grow beyond some size.
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    command = [sys.executable, "-c", FILL, f"{prefix}{disk / 'store'}", "-" if mounted else "40000"]
    command.append(str(Path(store_stress.__file__).parent))
    try:
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        kept = [query(int(number)).key for number in first.stdout.split()]
        assert first.returncode == 2 and "full" in first.stderr, first.stderr
        assert "every stored answer is safe" in first.stderr and str(disk / "store") in first.stderr
        assert 0 < len(kept) < 400
        with open_store(f"{prefix}{disk / 'store'}", read_only=True) as store:
            assert store.find_answers(kept).keys() == set(kept)
        if mounted:
            subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        command[-2] = "-"
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode == 0, second.stderr
        with open_store(f"{prefix}{disk / 'store'}", read_only=True) as store:
            assert len(list(store.rows())) == 400
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=False)
