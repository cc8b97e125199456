"""Control by goals: figures of policies that follow, ignore, saturate, or only write longer."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scoring.conftest import said

from prefboost.diagnosis.controllability import DiagnoseControllability, measure_controllability
from prefboost.errors import DataError
from prefboost.tables import MESSAGES, SCORED_COMPLETIONS, Table, conform

GOALS = (1.0, 4.0, 7.0, 10.0)


def build_table(respond: Any, prompts: int = 30, goals: tuple[float, ...] = GOALS, **columns: Any) -> Table:
    """Completions of some prompts for every goal; ``respond(goal, rng)`` gives score and words."""
    rng, rows = np.random.default_rng(3), []
    for number in range(prompts):
        for goal in goals:
            score, words = respond(goal, rng)
            rows.append(
                {"row": len(rows), "prompt_id": f"p{number}", "prompt": said("user", f"q{number}"),
                 "completion_id": f"c{len(rows)}", "completion": said("assistant", "w " * int(words) + "w"),
                 "goal": goal, "score": float(score)}
            )  # fmt: skip
    types = {"prompt": MESSAGES, "completion": MESSAGES, "row": pl.Int64}
    frame = pl.DataFrame(rows, schema_overrides=types).with_columns(**columns)
    return Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS), path="scored.parquet")


def measure(table: Table, **settings: Any) -> Any:
    return measure_controllability(table, DiagnoseControllability(**settings))


def test_a_policy_that_follows_exactly_has_slope_1_and_no_calibration_error() -> None:
    report = measure(build_table(lambda goal, _: (goal, 5)))
    assert report.overall.slope.estimate == pytest.approx(1.0) and report.overall.spearman.estimate == pytest.approx(
        1.0
    )
    assert report.overall.calibration_error.estimate == pytest.approx(0.0)
    assert [each.achieved.estimate for each in report.overall.goals] == list(GOALS)
    assert report.best.goal == 10.0 and report.best.gain.estimate == 0.0


def test_a_policy_that_ignores_goals_has_no_slope_and_nothing_to_share() -> None:
    report = measure(build_table(lambda _, rng: (5 + rng.normal(), 5 + rng.integers(3))))
    assert not report.overall.slope.excludes(0.0) and report.overall.length_share is None
    # Means of 5 against goals 1, 4, 7, 10.
    assert report.overall.calibration_error.estimate == pytest.approx(np.sqrt((16 + 1 + 4 + 25) / 4), abs=0.3)


def test_a_score_that_follows_length_alone_leaves_no_slope_at_equal_length() -> None:
    def respond(goal: float, rng: np.random.Generator) -> tuple[float, float]:
        words = round(10 * goal + rng.normal(scale=20) + 40)
        return words / 20, words

    report = measure(build_table(respond))
    assert report.overall.slope.excludes(0.0)
    assert not report.overall.slope_at_equal_length.excludes(0.0)
    assert report.overall.length_share.estimate == pytest.approx(1.0, abs=0.15)


def test_the_best_goal_need_not_be_the_highest_and_is_chosen_on_other_prompts() -> None:
    peaks = {1.0: 2.0, 4.0: 5.0, 7.0: 8.0, 10.0: 6.0}
    report = measure(build_table(lambda goal, rng: (peaks[goal] + rng.normal(scale=0.2), 5)), data_top=8)
    assert report.best.goal == 7.0 and report.best.gain.estimate == pytest.approx(2.0, abs=0.2)
    assert [each.extrapolated for each in report.overall.goals] == [False, False, False, True]
    assert any("best goal by validation prompts: 7" in line for line in report.lines())
    assert any("above the training data" in line for line in report.lines())


def test_marked_splits_go_before_the_draw() -> None:
    split = pl.when(pl.col("prompt_id").is_in(["p0", "p1"])).then(pl.lit("validation")).otherwise(pl.lit("test"))
    report = measure(build_table(lambda goal, _: (goal, 5), split=split))
    assert report.best.achieved.clusters == 28


def test_aspects_have_slopes_of_their_own() -> None:
    table = build_table(lambda goal, _: (goal, 5), **{"score.style": pl.col("goal") / 2})
    assert measure(table).aspects["style"].estimate == pytest.approx(0.5)


def test_completions_without_goal_or_score_are_counted_and_other_tables_refused() -> None:
    table = build_table(lambda goal, _: (goal, 5))
    some = pl.when(pl.col("row") < 3).then(None).otherwise(pl.col("score"))
    partial = Table(SCORED_COMPLETIONS, table.frame.with_columns(score=some), path="x")
    assert measure(partial).rejected == {"it has no score": 3}
    with pytest.raises(DataError, match="without a column goal"):
        measure(Table(SCORED_COMPLETIONS, table.frame.drop("goal"), path="x"))
    with pytest.raises(DataError, match="none of 120 completions"):
        measure(Table(SCORED_COMPLETIONS, table.frame.with_columns(score=pl.lit(None, pl.Float64)), path="x"))


@settings(max_examples=5)
@given(st.floats(-2, 2), st.floats(-5, 5))
def test_slope_and_calibration_move_with_a_linear_response(slope: float, offset: float) -> None:
    report = measure(build_table(lambda goal, _: (slope * goal + offset, 5), prompts=3))
    assert report.overall.slope.estimate == pytest.approx(slope, abs=1e-6)
    gaps = [(slope - 1) * goal + offset for goal in GOALS]
    assert report.overall.calibration_error.estimate == pytest.approx(np.sqrt(np.mean(np.square(gaps))), abs=1e-6)


@pytest.mark.parametrize(("beyond", "words"), [(9.0, "more than"), (4.0, "less than"), (6.5, "neither")])
def test_a_goal_above_the_datas_scores_is_compared_with_the_highest_within(beyond: float, words: str) -> None:
    def respond(goal: float, rng: np.random.Generator) -> tuple[float, int]:
        return (beyond if goal == 10 else min(goal, 6.5)) + rng.normal(scale=0.5), 5

    report = measure(build_table(respond), data_top=7.0)
    assert report.overall.extrapolation is not None
    assert report.overall.extrapolation.estimate == pytest.approx(beyond - 6.5, abs=0.4)
    assert any(words in line for line in report.lines() if line.startswith("above the training data's scores"))
    assert measure(build_table(respond), data_top=12.0).overall.extrapolation is None
    assert measure(build_table(respond)).overall.extrapolation is None


def build_vectors(respond: Any, vectors: tuple[tuple[float, float], ...], prompts: int = 24, **columns: Any) -> Table:
    """Completions for vectors of goals (style, depth); ``respond(style, depth, rng)`` gives both scores and words."""
    rng, rows = np.random.default_rng(5), []
    for number in range(prompts):
        for style, depth in vectors:
            first, second, words = respond(style, depth, rng)
            rows.append(
                {"row": len(rows), "prompt_id": f"p{number}", "prompt": said("user", f"q{number}"),
                 "completion_id": f"c{len(rows)}", "completion": said("assistant", "w " * int(words) + "w"),
                 "goal.style": style, "goal.depth": depth, "score": None,
                 "score.style": float(first), "score.depth": float(second)}
            )  # fmt: skip
    types = {"prompt": MESSAGES, "completion": MESSAGES, "row": pl.Int64, "score": pl.Float64}
    frame = pl.DataFrame(rows, schema_overrides=types).with_columns(**columns)
    return Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS), path="scored.parquet")


VECTORS = ((1.0, 1.0), (1.0, 5.0), (5.0, 1.0), (5.0, 5.0))


def test_aspects_that_are_asked_for_are_measured_each_with_the_others_effect() -> None:
    def respond(style: float, depth: float, rng: np.random.Generator) -> tuple[float, float, int]:
        # Depth takes style away, and comes with words; style has nothing to do with length.
        words = round(10 * depth + rng.normal(scale=8) + 40)
        return style - 0.5 * depth + rng.normal(scale=0.1), words / 10 - 4, words

    report = measure(build_vectors(respond, VECTORS), data_tops={"style": 3.0})
    style, depth = report.vectors["style"], report.vectors["depth"]
    assert report.overall is None and report.best is None and list(report.vectors) == ["depth", "style"]
    assert style.slope.estimate == pytest.approx(1.0, abs=0.03)
    assert depth.slope.estimate == pytest.approx(1.0, abs=0.15)
    assert style.crosstalk["depth"].estimate == pytest.approx(-0.5, abs=0.03) and style.crosstalk["depth"].excludes(0)
    assert depth.crosstalk["style"].estimate == pytest.approx(0.0, abs=0.15)
    # Of (1, 1) and (1, 5) the mean is 1 - 1.5, of (5, 1) and (5, 5) it is 5 - 1.5.
    assert [each.achieved.estimate for each in style.goals] == pytest.approx([-0.5, 3.5], abs=0.1)
    assert style.calibration_error.estimate == pytest.approx(1.5, abs=0.1)
    assert depth.spearman.estimate > 0.8
    assert depth.length_share.estimate > 0.5 > abs(style.length_share.estimate)
    assert style.extrapolation.estimate == pytest.approx(4.0, abs=0.1) and depth.extrapolation is None
    text = "\n".join(report.lines())
    assert "style:" in text and "change per point asked for of depth: -0.5" in text
    assert report.record()["goals"] == [] and "slope" in report.record()["vectors"]["depth"]


def test_a_slope_is_that_at_equal_goals_of_the_other_aspects_where_they_are_asked_for_together() -> None:
    # Asked for together in three of four vectors: alone, style's goal would take a part of depth's effect.
    vectors = ((1.0, 1.0), (5.0, 5.0), (4.0, 4.0), (5.0, 1.0))
    report = measure(build_vectors(lambda style, depth, _: (depth, depth, 5), vectors))
    assert report.vectors["style"].slope.estimate == pytest.approx(0.0, abs=1e-9)
    assert report.vectors["style"].crosstalk["depth"].estimate == pytest.approx(1.0)


def test_the_best_vector_is_chosen_on_other_prompts_and_by_weights_where_they_are_given() -> None:
    def respond(style: float, depth: float, rng: np.random.Generator) -> tuple[float, float, int]:
        return style - 0.9 * depth + rng.normal(scale=0.1), depth, 5

    table = build_vectors(respond, VECTORS)
    report = measure(table)
    assert dict(report.best_vector.goals) == {"depth": 5.0, "style": 5.0}
    assert report.best_vector.gain.estimate == 0.0 and "mean of the aspects" in report.best_vector.line()
    weighted = measure(table, weights={"style": 2.0, "depth": 1.0}).best_vector
    assert dict(weighted.goals) == {"depth": 1.0, "style": 5.0}
    # (2 (5 - 0.9) + 1) / 3 against (2 (5 - 4.5) + 5) / 3.
    assert weighted.gain.estimate == pytest.approx((9.2 - 6.0) / 3, abs=0.1)
    assert weighted.achieved.clusters < 24
    with pytest.raises(DataError, match="weights name aspects without a score: wit"):
        measure(table, weights={"wit": 1.0})


def test_without_the_highest_vector_there_is_no_gain_and_unscored_aspects_are_refused() -> None:
    report = measure(build_vectors(lambda *_: (1, 1, 5), VECTORS[:3]))
    assert report.best_vector is not None and report.best_vector.gain is None
    table = build_vectors(lambda *_: (1, 1, 5), VECTORS)
    with pytest.raises(DataError, match=r"without score\.depth, score\.style"):
        measure(Table(SCORED_COMPLETIONS, table.frame.drop("score.style", "score.depth"), path="x"))


def test_overall_goals_and_vectors_stand_in_one_file() -> None:
    table = build_vectors(lambda style, depth, _: (style, depth, 5), VECTORS, goal=pl.lit(7.0), score=pl.lit(6.0))
    report = measure(table)
    assert [each.goal for each in report.overall.goals] == [7.0] and not report.aspects
    assert report.overall.slope.estimate != report.overall.slope.estimate  # NaN: one goal has no slope
    assert report.best is None and "overall score" in report.best_vector.line()
