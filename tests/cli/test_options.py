"""An option that several commands have is the same option in all of them."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["generate", "score", "judge"])
def test_whoever_asks_a_model_can_share_a_store_and_can_be_asked_what_it_would_do(command: str) -> None:
    run = [sys.executable, "-m", "prefboost.cli.main", command, "--help"]
    shown = " ".join(subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    for option in ("--store", "--dry-run", "--partial", "--quiet"):
        assert option in shown, f"{command} has no {option}"
