"""Executors are chosen by kind, and dump to what they were read from."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from prefboost.recipes.executors import EXECUTORS, OnRay, OnThisMachine
from prefboost.settings import Settings, choice


class Holder(Settings):
    executor: Annotated[OnThisMachine | OnRay, choice(EXECUTORS)] = OnThisMachine()


@pytest.mark.parametrize(
    ("value", "executor"),
    [
        ("local", OnThisMachine()),
        ("ray", OnRay()),
        ({"kind": "ray", "address": "auto", "tasks": 3}, OnRay(address="auto", tasks=3)),
    ],
)
def test_an_executor_is_chosen_by_kind_and_its_dump_loads_to_itself(value: Any, executor: Settings) -> None:
    holder = Holder.model_validate({"executor": value})
    assert holder.executor == executor
    assert Holder.model_validate(holder.model_dump(mode="json")) == holder


def test_an_unknown_executor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValidationError, match="local, ray"):
        Holder.model_validate({"executor": "dask"})
