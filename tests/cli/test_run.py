"""``prefboost run``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "scored.jsonl"

ROUNDS = """kind: on_policy
name: mine
prompts: {kind: "prefboost.runs.demo.prompts:DemoPrompts", train: 4, held_out: 2}
scorer: rules
train: {model: nowhere}
"""


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    (tmp_path / "rounds.yaml").write_text(ROUNDS)
    return tmp_path / "rounds.yaml"


def test_a_dry_run_lists_every_stage_and_makes_nothing(
    rounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert main(["run", str(rounds), "--dry-run", "--runs-dir", str(runs)]) == 0
    assert capsys.readouterr().out == (
        "prompts              to do: not done yet\n"
        "start/evaluate       to do: not done yet\n"
        "round 1/generate     to do: not done yet\n"
        "round 1/score        to do: not done yet\n"
        "round 1/pairs        to do: not done yet\n"
        "round 1/train        to do: not done yet\n"
        "round 1/evaluate     to do: not done yet\n"
        "0 of 7 stages are done\n"
    )
    assert not runs.exists()


def test_a_stage_is_done_skipped_and_repeated_with_the_reason(
    rounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs"), "--until", "prompts", "--quiet"]
    assert main(["run", str(rounds), *runs]) == 0
    assert capsys.readouterr().out.startswith("prompts              6 prompts  ")
    assert main(["run", str(rounds), *runs]) == 0
    assert "prompts              skipped: nothing it depends on has changed" in capsys.readouterr().out
    assert main(["run", str(rounds), "prompts.train=5", *runs[:2], "--dry-run"]) == 0
    assert "prompts              to do: prompts.train was 4, is 5" in capsys.readouterr().out
    assert main(["run", str(rounds), "prompts.train=5", *runs]) == 0
    assert "(prompts.train was 4, is 5)" in capsys.readouterr().out


def test_json_is_one_document(rounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = ["--runs-dir", str(tmp_path / "runs"), "--until", "prompts", "--quiet"]
    assert main(["run", str(rounds), *runs, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["stages"][0]["stage"] == "prompts" and report["model"] is None
    assert main(["run", str(rounds), *runs[:2], "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["done"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--until", "promts"], "did you mean 'prompts'"),
        (["round=2"], "round is not a setting here; did you mean rounds?"),
        (["kind=onpolicy"], "did you mean on_policy?"),
    ],
)
def test_a_mistake_is_one_message(
    rounds: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(rounds), "--runs-dir", str(tmp_path / "runs"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_train_names_run_for_a_recipe_of_several_stages(rounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(rounds)]) == 2
    shown = capsys.readouterr().err
    assert "is a recipe of kind on_policy" in shown and f"prefboost run {rounds}" in shown


@pytest.mark.torch
def test_the_report_names_the_mean_score_of_each_round(
    on_policy_text: str, finished_rounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(on_policy_text)
    assert main(["run", str(tmp_path / "tiny.yaml"), "--runs-dir", str(finished_rounds), "--quiet"]) == 0
    shown = capsys.readouterr().out
    for line in ("start      asked for 10: ", "round 1    asked for 10: ", "round 2    asked for 10: "):
        assert line in shown
    assert "against start" in shown and "(3 prompts)" in shown
    assert f"model: {finished_rounds}/tiny/round-2/model" in shown
