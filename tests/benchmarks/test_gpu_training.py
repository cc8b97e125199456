"""The script for a GPU: its texts, its check, and that it goes on where TRL is not installed."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

import gpu_training
import pytest
from gpu_training import PREAMBLE, TRIED, check_forward, random_texts
from training_data import SHAPES
from training_kept import Kept, Line
from training_sides import Outcome


@pytest.mark.parametrize("name", ["alpaca_like", "long_prompt", "long_goal_after"])
def test_both_views_share_their_texts_and_the_wording_of_goals(name: str) -> None:
    texts = random_texts(SHAPES[name], 4, 1000)
    views = len(texts.prompts) // 2
    assert texts.prompts[:views] == texts.prompts[views:] and views == 8
    assert texts.completions[0] == texts.completions[views + 1] and texts.completions[1] == texts.completions[views]
    if SHAPES[name].place == "after":
        assert texts.prompts[0][-PREAMBLE - 2 : -2] == texts.prompts[2][-PREAMBLE - 2 : -2]
        assert texts.prompts[0][: -PREAMBLE - 2] == texts.prompts[1][: -PREAMBLE - 2]
    else:
        assert len({tuple(prompt[:PREAMBLE]) for prompt in texts.prompts}) == 1
    assert texts.prompts[0] != texts.prompts[1]


@pytest.mark.parametrize("name", list(TRIED))
def test_packed_is_padded_on_this_device(name: str) -> None:
    assert ("blocked" if name == "llama" else "eager") in check_forward(name, "cpu", bf16=False)


def test_a_difference_stops_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefboost.losses import completion_logps

    original = completion_logps.compute_logps
    monkeypatch.setattr(completion_logps, "compute_logps", lambda *a, **k: original(*a, **k) * 1.1)
    with pytest.raises(AssertionError, match="packed and padded differ: llama"):
        check_forward("llama", "cpu", bf16=False)


def test_without_trl_the_rest_is_measured_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_training.importlib.util, "find_spec", lambda name: None if name == "trl" else name)
    gpu_training._trainings(argparse.Namespace(smoke=False, device="cuda", shapes=[]))
    assert "trainings beside TRL are left out, for want of trl" in capsys.readouterr().out


def test_checks_and_forward_passes_run_to_the_end_on_the_smallest_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_training.main(["--device", "cpu", "--smoke", "--parts", "checks", "forward"]) == 0
    said = capsys.readouterr().out
    assert "packed = padded" in said and "bf16 matrix products" in said
    assert any(line.startswith("TINY") and line.endswith("%") for line in said.splitlines())


@pytest.mark.parametrize(("seconds", "status", "word"), [(5.0, 0, "pass"), (12.0, 1, "FAIL")])
def test_bars_of_every_model_are_told_from_what_the_trainings_kept(
    seconds: float, status: int, word: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls = []

    def measured(command: list[str], check: bool) -> Any:
        calls.append(command)
        kept = Kept({}, Path(command[command.index("--keep") + 1]))
        for name, taken, peak in (("trl", 12.0, 8.0), ("ours", seconds, 2.0)):
            kept.add(Line("alpaca_like", name, "bf16", Outcome(name, taken, 0, taken, peak, 1, 1, [0.7]), 1.0))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(gpu_training.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(gpu_training.subprocess, "run", measured)
    folder = str(tmp_path / "kept")
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "a GPU")
    assert gpu_training.main(["--parts", "trainings", "--shapes", "LLAMA-1B", "--keep", folder]) == status
    assert [("--random" in call) for call in calls] == [False, True]
    lines = [line for line in capsys.readouterr().out.splitlines() if "time_ratio" in line]
    assert len(lines) == 2 and all(line.endswith(word) for line in lines)
