"""``prefboost explain``."""

from __future__ import annotations

import json

import pytest

from prefboost.cli.main import main
from prefboost.recipes.kinds import RECIPES


def test_a_choice_is_explained_with_its_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "train.loss"]) == 0
    shown = capsys.readouterr().out
    assert "train.loss" in shown
    assert "simpo" in shown
    assert "prefboost explain train.loss.dpo" in shown


def test_a_setting_is_explained_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "train.loss.dpo.label_smoothing", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["holds"] == "number"
    assert page["default"] == "0.0"


def test_the_whole_recipe_is_explained_without_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain"]) == 0
    shown = capsys.readouterr().out
    for part in ("data", "pair", "relabel", "condition", "train"):
        assert part in shown


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    kinds = [schema["$defs"][each["$ref"].removeprefix("#/$defs/")]["properties"].keys() for each in schema["anyOf"]]
    assert len(kinds) == len(RECIPES)
    assert all("name" in kind for kind in kinds)


def test_settings_of_other_kinds_of_recipes_stand_behind_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "on_policy.generate.goal"]) == 0
    assert "mixture" in capsys.readouterr().out
    assert main(["explain", "implicit_reward"]) == 0
    assert "first" in capsys.readouterr().out


def test_a_wrong_path_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "train.los"]) == 2
    assert "did you mean train.loss?" in capsys.readouterr().err


def test_settings_of_reward_models_are_explained_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "train_reward.train.loss", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["path"] == "train_reward.train.loss" and {"bradley_terry", "regression"} <= set(page["kinds"])
    assert main(["explain", "train-reward", "--json"]) == 0
    assert "train" in {each["name"] for each in json.loads(capsys.readouterr().out)["settings"]}
    assert main(["explain", "train_reward.train.los"]) == 2
    assert "did you mean train.loss" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["test_share", "augment.format", "columns.score", "data.ultrafeedback.fix_overall"])
def test_settings_of_augment_and_of_sources_are_explained(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", path]) == 0
    assert capsys.readouterr().out.startswith(path)
