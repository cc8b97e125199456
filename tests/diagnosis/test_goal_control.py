"""Control of one score by its goal, on rows that are made by hand."""

from __future__ import annotations

import math

import polars as pl
import pytest

from prefboost.diagnosis.goal_control import compare_goals, measure_goal_control


def build_rows(**columns: object) -> pl.DataFrame:
    """Two goals for each of eight prompts; the score follows the goal by half."""
    goals = [2.0, 8.0] * 8
    rows = {"prompt_id": [f"p{at // 2}" for at in range(16)], "goal": goals, "words": [5.0] * 16}
    return pl.DataFrame({**rows, "score": [goal / 2 for goal in goals]}).with_columns(**columns)


def test_half_of_what_is_asked_for_is_achieved() -> None:
    control = measure_goal_control(build_rows(), 5.0)
    assert control.slope.estimate == pytest.approx(0.5) and control.slope.clusters == 8
    assert [(each.goal, each.achieved.estimate, each.extrapolated) for each in control.goals] == [
        (2.0, 1.0, False), (8.0, 4.0, True)
    ]  # fmt: skip
    assert control.calibration_error.estimate == pytest.approx(math.sqrt((1 + 16) / 2))
    assert control.extrapolation is not None and control.extrapolation.estimate == 3.0
    # All texts are equally long, so that length explains nothing.
    assert control.length_share is not None and control.length_share.estimate == pytest.approx(0.0)
    assert not control.crosstalk


def test_a_goal_that_was_never_asked_for_beside_this_one_or_never_varied_has_no_effect() -> None:
    other = pl.Series([1.0] * 8 + [None] * 8)
    control = measure_goal_control(build_rows(**{"goal.constant": pl.lit(3.0), "goal.partly": other}), None)
    assert not control.crosstalk and control.slope.estimate == pytest.approx(0.5)


def test_goals_are_compared_over_the_prompts_that_have_both() -> None:
    rows = build_rows().filter((pl.col("prompt_id") != "p0") | (pl.col("goal") == 2))
    gap = compare_goals(rows, 8.0, 2.0)
    assert gap is not None and (gap.estimate, gap.clusters) == (3.0, 7)
    assert compare_goals(rows, 8.0, 5.0) is None
