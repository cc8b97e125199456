"""Goals that nobody was trained on are named, and asked for all the same."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engines.test_goal_requests import USER, Plain

from prefboost.chat import SayGoal
from prefboost.engines.goal_range import goal_range, warn_outside
from prefboost.engines.goal_requests import asker
from prefboost.errors import UnreachableGoal


def trained(folder: Path, text: str) -> Any:
    """An engine that says goals by itself, of a checkpoint with that record."""
    (folder / "prefboost.json").write_text(text)
    engine = Plain(says_goals=True)
    engine.settings = SimpleNamespace(model=str(folder))  # type: ignore[attr-defined]
    return engine


@pytest.mark.parametrize("goal", [0.0, 11.0])
def test_a_goal_outside_the_scale_that_a_prompt_names_is_said_with_a_warning(goal: float) -> None:
    ask = asker(Plain(), SayGoal())  # type: ignore[arg-type]
    with pytest.warns(UnreachableGoal, match=rf"the goal {goal:g} lies outside the scale of the scores, 1 to 10"):
        assert f"score: {goal:g}." in ask(USER, goal, 0).prompt[0]["content"]


def test_the_scale_is_the_one_that_the_checkpoint_records(tmp_path: Path) -> None:
    ask = asker(trained(tmp_path, json.dumps({"say": {"low": 0, "high": 4}})), SayGoal())
    with pytest.warns(UnreachableGoal, match="goal 7 lies outside the scale of the scores, 0 to 4"):
        assert ask(USER, 7.0, 0).goal == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [ask(USER, goal, 0).goal for goal in (0.0, 2.5, 4.0, None)] == [0, 2.5, 4, None]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"say": null}', '{"say": {"low": 1}}'])
def test_a_model_without_a_record_that_says_goals_by_itself_has_no_known_scale(tmp_path: Path, text: str) -> None:
    assert goal_range(trained(tmp_path, text), SayGoal()) is None
    assert goal_range(Plain(says_goals=True), SayGoal()) is None  # type: ignore[arg-type]
    assert goal_range(Plain(), SayGoal(low=0, high=5)) == (0, 5)  # type: ignore[arg-type]


@given(st.floats(-20, 20), st.floats(-10, 0), st.floats(1, 10))
def test_it_warns_just_outside_the_ends(goal: float, low: float, high: float) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warn_outside(goal, (low, high))
    assert bool(told) == (goal < low or goal > high)
