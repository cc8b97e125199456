"""Recipes of every kind whose data and scores are made on the nodes end in the files of one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.runs.pipelines.test_implicit_reward import binary  # noqa: F401 - a fixture
from tests.runs.pipelines.test_implicit_reward import recipe as build_implicit_recipe
from tests.runs.pipelines.test_reward_models import recipe as build_reward_recipe
from tests.runs.ray.rows import read_output
from tests.training.conftest import build_folder

from prefboost.recipes.executors import OnRay
from prefboost.recipes.kinds import AnyRecipe
from prefboost.runs.pipelines.run import run
from prefboost.runs.ray.asking import RayPool

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def run_in_both(recipe: AnyRecipe, folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Run a recipe here, and with the executor ray of the cluster that is connected; return the files of both."""
    run(recipe, folder / "here")
    run(recipe.model_copy(update={"executor": OnRay(tasks=1)}), folder / "many")
    here, many = (read_output(folder / place / recipe.name) for place in ("here", "many"))
    return here, many


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the pool loads."""
    names: list[str] = []
    open_model = RayPool.open_model

    def note(pool: RayPool, device: str, load: Any, arguments: Any) -> Any:
        names.append(load.__name__)
        return open_model(pool, device, load, arguments)

    monkeypatch.setattr(RayPool, "open_model", note)
    return names


def test_implicit_rewards_are_computed_on_the_nodes(
    connected: Any,
    binary: Path,  # noqa: F811
    tiny_model: Path,
    tmp_path: Path,
    loads: list[str],
) -> None:
    here, many = run_in_both(build_implicit_recipe(binary, tiny_model, "train.max_steps=1"), tmp_path)
    assert len(loads) == 2, "the policy and its reference"
    names = ["preferences.parquet", "scored.parquet", "augmented/pairs.parquet", "augmented/model/model.safetensors"]
    assert [name for name in names if here[name] != many[name]] == [] and here.keys() == many.keys()


def test_reward_models_are_trained_here_and_measured_on_the_nodes(
    connected: Any, tmp_path: Path, loads: list[str]
) -> None:
    start = build_folder(tmp_path / "start")
    recipe = build_reward_recipe(tmp_path, start, "mixtures={real: {real: 1}}", "train.max_steps=1")
    here, many = run_in_both(recipe, tmp_path)
    assert len(loads) == 1
    names = ["data/parts/real.parquet", "data/test.parquet", "real/pairs.parquet", "real/model/model.safetensors"]
    assert [name for name in names if here[name] != many[name]] == [] and here.keys() == many.keys()
    scores = "real/accuracy.scores.parquet"
    assert here[scores] == many[scores]
