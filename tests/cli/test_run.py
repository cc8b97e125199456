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
    stages, _, cost = capsys.readouterr().out.partition("cost: ")
    assert stages == (
        "prompts              to do: not done yet\n"
        "start/evaluate       to do: not done yet\n"
        "round 1/generate     to do: not done yet\n"
        "round 1/score        to do: not done yet\n"
        "round 1/pairs        to do: not done yet\n"
        "round 1/train        to do: not done yet\n"
        "round 1/evaluate     to do: not done yet\n"
        "0 of 7 stages are done\n"
    )
    assert cost.startswith("not known, since ") and "'nowhere'" in cost
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
    plan = json.loads(capsys.readouterr().out)
    assert plan["stages"][0]["done"] and "nowhere" in plan["forecast"]["unknown"]


@pytest.mark.torch
def test_a_dry_run_prints_the_cost_of_every_round_and_of_all(
    on_policy_text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.yaml").write_text(on_policy_text)
    command = ["run", str(tmp_path / "tiny.yaml"), "--runs-dir", str(tmp_path / "runs"), "--dry-run"]
    assert main([*command, "--on", "parameters=7e9", "--on", "dollars=2"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for name in ("round 1", "round 2"):
        whole = next(line for line in shown if line.startswith(f"{name} in all: "))
        assert "38 completions, " in whole and "at most 456 to write" in whole and "tokens to train on" in whole
        assert any(line.startswith(f"{name} on these machines: about ") and "FLOPs" in line for line in shown)
        assert any(line.startswith(f"{name} store:  about ") for line in shown)
    assert any(line.startswith("in all: 82 completions, ") for line in shown)
    assert any(line.startswith("on these machines: about ") and ", $" in line for line in shown)
    assert main([*command, "--json", "--on", "parameters=7e9"]) == 0
    record = json.loads(capsys.readouterr().out)
    estimates = record["estimate"]
    assert list(estimates) == ["round 1", "round 2", ""]
    # The start model is measured before the first round.
    rounds = sum(estimates[name]["flops"] for name in ("round 1", "round 2"))
    assert 0 < rounds < estimates[""]["flops"] < 1.5 * rounds
    assert record["forecast"]["rounds"]["round 1"]["completions"]["rows"] == 38
    assert not (tmp_path / "runs").exists()


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
