"""``prefboost train``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from prefboost.cli.main import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "scored.jsonl"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def recipe(tiny: Path, tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path / "scored.jsonl")
    path = tmp_path / "tiny.yaml"
    path.write_text(
        f"name: tiny\ndata: {tmp_path}/scored.jsonl\ntrain:\n  model: {tiny}\n  precision: fp32\n"
        "  batch_size: 8\n  max_length: 900\n  max_prompt_length: 600\n"
    )
    return path


@pytest.mark.torch
def test_a_recipe_is_trained_and_the_model_named(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(recipe), "--runs-dir", str(tmp_path / "runs"), "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "trained on 24 goal pairs in 3 steps" in shown
    assert f"model: {tmp_path}/runs/tiny/model" in shown


@pytest.mark.torch
def test_a_dry_run_counts_and_makes_nothing(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["train", str(recipe), "--dry-run", "--runs-dir", str(tmp_path / "runs"), "pair=all_pairs", "--json"]) == 0
    )
    shown = json.loads(capsys.readouterr().out)
    assert shown["goal_pairs"] == 72
    assert [step["verb"] for step in shown["steps"]] == ["read", "select", "scale", "pair", "relabel", "condition"]
    assert shown["training"]["pairs"] == 72 and shown["training"]["seconds"]["training"] > 0
    assert not (tmp_path / "runs").exists()


@pytest.mark.torch
def test_a_dry_run_says_what_training_will_take(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "24 goal pairs to train on: 12 units, 3 steps" in shown
    assert all(word in shown for word in ("tokens:", "time:   about", "memory: about", "guess:"))


def test_a_model_that_cannot_be_loaded_is_one_message(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "no-model"
    folder.mkdir()
    assert main(["train", str(recipe), f"train.model={folder}", "--dry-run"]) == 2
    shown = capsys.readouterr().err
    assert "error: cannot load the model" in shown
    assert "Traceback" not in shown


def test_a_missing_file_is_one_message(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", str(recipe), f"data={tmp_path}/gone.jsonl", "--runs-dir", str(tmp_path / "runs"), "--quiet"]
    assert main(arguments) == 2
    assert "gone.jsonl" in capsys.readouterr().err
