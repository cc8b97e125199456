"""Executors are chosen by kind, and dump to what they were read from."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from prefboost.recipes.executors import OnRay, OnThisMachine
from prefboost.recipes.kinds import RECIPES
from prefboost.recipes.recipe import Recipe
from prefboost.settings import Settings

NEEDED: dict[str, dict[str, Any]] = {
    "offline": {"data": "a.jsonl"},
    "on_policy": {"prompts": "p.txt", "scorer": "rules"},
    "implicit_reward": {"data": "a.jsonl"},
    "reward": {"parts": {"real": "p.jsonl"}},
}
"""Settings that a recipe of each kind needs."""


@pytest.mark.parametrize(
    ("value", "executor"),
    [
        ("local", OnThisMachine()),
        ("ray", OnRay()),
        ({"kind": "ray", "address": "auto", "tasks": 3}, OnRay(address="auto", tasks=3)),
    ],
)
def test_an_executor_is_chosen_by_kind_and_its_dump_loads_to_itself(value: Any, executor: Settings) -> None:
    for kind, recipe in RECIPES.items():
        values = {"name": "x", "train": {"model": "m"}, "executor": value, **NEEDED[kind]}
        loaded = recipe.model_validate(values)
        assert loaded.executor == executor
        assert recipe.model_validate(loaded.model_dump(mode="json")) == loaded
        assert recipe.model_validate({**values, "executor": "local"}).executor == OnThisMachine()


def test_an_unknown_executor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="local, ray"):
        Recipe.model_validate({"name": "x", "data": "a.jsonl", "train": {"model": "m"}, "executor": "dask"})


def test_no_other_class_can_be_the_executor() -> None:
    values = {"name": "x", "data": "a.jsonl", "train": {"model": "m"}, "executor": "prefboost.losses:DPO"}
    with pytest.raises(ValidationError, match="one of: local, ray"):
        Recipe.model_validate(values)
