"""The example of goals runs at a very small size and prints a line per arm, beta and checkpoint."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
SCRIPT = Path(__file__).parents[2] / "examples" / "goal_world.py"


def test_both_arms_are_trained_at_every_beta_and_measured_at_every_checkpoint(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec = importlib.util.spec_from_file_location("example_of_goals", SCRIPT)
    assert spec is not None and spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    example.main(["--seeds", "1", "--betas", "0.1", "1", "--steps", "1", "2", "--start-steps", "2", "--pairs", "60"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    steps = [(line[-5], line[-4]) for line in lines if line[0] == "DPO"]
    assert steps == [("0.1", "1"), ("0.1", "2"), ("1", "1"), ("1", "2")]
    assert sum(line[0] == "reward-augmented" for line in lines) == 4
