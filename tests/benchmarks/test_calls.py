"""The benchmark of calls compares ways that give the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "calls.py"


@pytest.mark.slow
def test_it_runs_and_asking_through_a_store_costs_less_than_the_plain_loop() -> None:
    options = ["--rows", "600", "--calls", "128", "--delay-ms", "5", "--turns", "1"]
    run = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True, env=os.environ)
    shown = [line for line in run.stdout.splitlines() if line.startswith("CPU time per row")]
    assert len(shown) == 2
    assert float(shown[0].rpartition(" ")[2]) < 1.15
