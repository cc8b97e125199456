from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main

ROWS = [{"prompt": f"q {n}", "chosen": f"good {n}", "rejected": f"bad {n}", "rating": 9, "other": 2} for n in range(6)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)), encoding="utf-8")
    return path


def test_the_guess_can_be_overridden(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file), "columns.score_chosen=rating", "columns.score_rejected=other", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["score_chosen"]["mean"] == 9.0
    assert found["mapping"]["score_chosen"] == "rating"


def test_people_see_columns_lengths_and_lints(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "6 rows of PreferencePairs" in shown
    assert "no_scores" in shown


def test_a_benchmark_file_is_held_against_the_prompts(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = tmp_path / "benchmark.txt"
    benchmark.write_text("Q 3!\nanother\n", encoding="utf-8")
    assert main(["inspect", str(file), "--against", str(benchmark), "--json"]) == 0
    findings = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["contamination"]["rows"] == [3]


@pytest.mark.parametrize(("override", "shown"), [("score=x", "columns.NAME=COLUMN"), ("columns.scoer=x", "scoer")])
def test_a_wrong_override_is_one_message(
    file: Path, override: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(file), override]) == 2
    assert shown in capsys.readouterr().err


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "nowhere/pairs.jsonl"]) == 2
    assert "nowhere/pairs.jsonl" in capsys.readouterr().err
