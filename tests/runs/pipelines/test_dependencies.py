"""Stages read no setting of a recipe but those that their keys are made of: a change would leave them stale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.runs.folder.executor import LocalExecutor
from prefboost.runs.folder.manifest import open_run
from prefboost.runs.folder.schedule import carry_out
from prefboost.runs.pipelines.run import build_stages


def run_without_recipe(recipe: Any, folder: Path) -> int:
    """Empty a recipe once its stages are built, then run them: they have their parts of it and no more."""
    run = open_run(folder, recipe.name, recipe.model_dump(mode="json"))
    stages = build_stages(recipe, run)
    vars(recipe).clear()
    with pytest.raises(AttributeError):
        recipe.train  # noqa: B018 - the recipe is empty indeed
    return len(carry_out(run, stages, LocalExecutor()))


@pytest.mark.torch
def test_stages_of_an_offline_recipe_have_all_that_they_read_in_their_parts(tiny_model: Path, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "scored.jsonl"
    text = f"""
name: mine
data: {json.dumps(str(example))}
train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, max_steps: 1, max_length: 1200, max_prompt_length: 900}}
"""
    assert run_without_recipe(of_kind(parse(text)), tmp_path / "run") == 2


@pytest.mark.torch
def test_stages_of_on_policy_rounds_have_all_that_they_read_in_their_parts(on_policy_text: str, tmp_path: Path) -> None:
    overrides = ["rounds=1", "train.max_steps=1", "prompts_a_round=parts"]
    assert run_without_recipe(of_kind(apply_overrides(parse(on_policy_text), overrides)), tmp_path / "run") == 7


@pytest.mark.torch
def test_stages_of_implicit_rewards_have_all_that_they_read_in_their_parts(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "Go away."} for n in range(6)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = f"""
kind: implicit_reward
name: ira
data: {json.dumps(str(tmp_path / "pairs.jsonl"))}
train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, max_steps: 1, max_length: 1000, max_prompt_length: 700,
        loss: {{kind: dpo, beta: 0.2}}}}
"""
    assert run_without_recipe(of_kind(parse(text)), tmp_path / "run") == 6
