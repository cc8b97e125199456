"""Settings of the comparison are refused where they cannot be meant, and their arms are those that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from prefboost.runs.reproduce.rmboost.arms import METHOD_ARMS
from prefboost.runs.reproduce.rmboost.settings import RewardReproduction
from prefboost.training import TrainReward

from .conftest import build_comparison


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ("rmboost", "rlaiff")}, "arms are some of"),
        ({"validation": 0.5, "test": 0.5}, "no prompts to write to"),
        ({"seeds": (1, 1)}, "stands twice in seeds"),
        ({"train": TrainReward(model="m", loss={"kind": "regression"})}, "takes scores"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build_comparison(Path("m"), Path("pairs.jsonl"), **changes)


def test_all_arms_are_compared_unless_some_are_named() -> None:
    assert RewardReproduction.model_fields["arms"].default == tuple(METHOD_ARMS)
