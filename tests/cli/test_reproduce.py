"""``prefboost reproduce reward_augmented``: a plan with its time, then verdicts and a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.runs.reproduce.conftest import write_scored
from tests.runs.reproduce.rmboost.conftest import write_pairs
from tests.training.conftest import build_folder

from prefboost.cli.main import main


@pytest.mark.torch
def test_it_plans_compares_and_prints_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = build_folder(tmp_path / "tiny"), write_scored(tmp_path / "scored.jsonl"), tmp_path / "out"
    line = [
        "reproduce", "reward_augmented", f"model={model}", f"data={data}", "scale={kind: declared, low: 1, high: 10}",
        "condition.place=user", "condition.wording=Words {{ goal }}.", "train.learning_rate=1e-3", "train.batch_size=8",
        "arms=[dpo,ra]", "seeds=[1,2]", "betas=[]", "steps=1", "validation=0.25", "test=0.25", "-o", str(out),
    ]  # fmt: skip
    assert main([*line, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "ra-beta0.01-rate0.001-seed1" in printed and "3 cells to choose settings, at most 4 more" in printed
    assert "per cell" in printed and "on these machines" not in printed and not out.exists()
    assert main([*line, "--dry-run", "--on", "parameters=7e9", "--on", "dollars=2"]) == 0
    printed = capsys.readouterr().out
    for part in ("choosing settings: ", "other seeds: ", ""):
        assert f"\n{part}on these machines: about " in printed
    assert "FLOPs" in printed and "$" in printed
    assert main([*line, "--quiet"]) == 0
    assert "at each arm's best settings ra beats dpo: " in capsys.readouterr().out
    assert json.loads((out / "results.json").read_text())["claims"]


def test_wrong_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "rmbost"]) == 2
    assert "no reproduction of 'rmbost'" in capsys.readouterr().err
    assert main(["reproduce", "reward_augmented", "one", "two"]) == 2
    assert "several recipes" in capsys.readouterr().err
    assert main(["reproduce", "reward_augmented", "arms=[dop]"]) == 2
    assert "arms are some of" in capsys.readouterr().err


@pytest.mark.torch
def test_rmboost_tells_calls_and_time_before_it_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, data, out = build_folder(tmp_path / "tiny"), write_pairs(tmp_path / "pairs.jsonl"), tmp_path / "out"
    line = [
        "reproduce", "rmboost", f"model={model}", f"data={data}", "arms=[rmboost,rlaif,labelled]", "seeds=[1,2]",
        "train.batch_size=8", "sampling.max_tokens=8", "validation=0.2", "test=0.3", "-o", str(out),
    ]  # fmt: skip
    assert main([*line, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "rmboost: " in printed and "calls" in printed and "3 more for the other seeds" in printed
    assert main([*line, "--dry-run", "--json", "--on", "parameters=7e9"]) == 0
    parts = json.loads(capsys.readouterr().out)["estimate"]
    assert list(parts) == ["calls", "choosing settings", "other seeds", ""]
    flops = [parts[name]["flops"] for name in list(parts)[:3]]
    assert min(flops) > 0 and parts[""]["flops"] == pytest.approx(sum(flops))
    assert not out.exists()
    assert main(["reproduce", "rmboost", f"data={data}", "generator=replay:nowhere"]) == 2
    assert "train" in capsys.readouterr().err
