"""``prefboost show``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from prefboost.cli.main import main
from prefboost.recipes.load import list_shipped_recipes


def test_without_a_recipe_the_shipped_ones_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show"]) == 0
    assert capsys.readouterr().out.split() == list_shipped_recipes()


def test_the_whole_tree_is_printed_with_overrides_applied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "qwen2-7b-ra", "train.loss.beta=0.5"]) == 0
    tree = yaml.safe_load(capsys.readouterr().out)
    assert tree["train"]["loss"]["beta"] == 0.5
    assert tree["train"]["loss"]["label_smoothing"] == 0.3
    assert tree["train"]["weight_decay"] == 0.0


def test_json_holds_the_same_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "qwen2-7b-ra", "--json"]) == 0
    as_json = json.loads(capsys.readouterr().out)
    assert main(["show", "qwen2-7b-ra"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == as_json


def test_every_fault_of_a_recipe_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\ndata: scored.jsonl\ntrain:\n  model: m\n  lr: 1\n  loss: {kind: dpo, betta: 1}\n")
    assert main(["show", str(recipe), "train.seed=x"]) == 2
    shown = capsys.readouterr().err
    assert f"{recipe}:5: train.lr is not a setting here" in shown
    assert f"{recipe}:6: train.loss.betta is not a setting here; did you mean beta?" in shown
    assert "override 'train.seed=x': train.seed: input should be a valid integer" in shown


def test_an_unknown_recipe_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "qwen2-7b"]) == 2
    assert "did you mean qwen2-7b-ra?" in capsys.readouterr().err
