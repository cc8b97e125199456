"""The best goal, and the best goal vector, to ask for: chosen on some prompts and measured on others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from prefboost.diagnosis.goal_control import compare_goals
from prefboost.preferences.draw import draw_share
from prefboost.statistics import Interval, bootstrap_mean
from prefboost.tables import EVALUATION_SPLITS

__all__ = ["BestGoal", "BestVector", "choose_best_goal", "choose_best_vector"]

_SEED = 7
"""Of the draw of prompts that choose the best goal, where the file has no column ``split``."""


@dataclass(frozen=True)
class BestGoal:
    """The goal with the highest mean score on validation prompts, and what it achieves on the others.

    Args:
        goal: chosen.
        achieved: its mean score on the other prompts.
        gain: the same minus that of the highest goal, paired by prompt.
    """

    goal: float
    achieved: Interval
    gain: Interval


@dataclass(frozen=True)
class BestVector:
    """The goal vector with the highest mean score on validation prompts, and what it achieves on the others.

    Args:
        goals: aspect -> goal, of the chosen vector.
        score: by which it was chosen.
        achieved: mean of that score on the other prompts.
        gain: the same minus that of the vector that asks most of every aspect, paired by prompt; None where no vector
            does.
    """

    goals: Mapping[str, float]
    score: str
    achieved: Interval
    gain: Interval | None

    def line(self) -> str:
        """Write it as in reports."""
        goals = ", ".join(f"{aspect} {goal:g}" for aspect, goal in self.goals.items())
        against = "" if self.gain is None else f", {self.gain.format(signed=True)} against the highest of every aspect"
        return (
            f"best goal vector by validation prompts and {self.score}: {goals}; on the others it achieves "
            f"{self.achieved.format()}{against}"
        )


def _choose_best(frame: pl.DataFrame, validation: float) -> tuple[float, Interval, pl.DataFrame] | None:
    """Choose the goal with the highest mean score on some prompts, and measure it on the others.

    Where it won, the best of several means is too high.

    Returns:
        the goal, its mean score on the other prompts, and their rows; None where there is nothing to choose or measure.
    """
    if frame.is_empty() or frame["goal"].n_unique() < 2:
        return None
    marked = frame["split"].is_in(EVALUATION_SPLITS) if "split" in frame.columns else pl.Series([False])
    chooses = (
        frame["split"] == "validation"
        if marked.any()
        else frame.select(draw_share(_SEED, "prompt_id") < validation).to_series()
    )
    first, second = frame.filter(chooses), frame.filter(~chooses)
    if first.is_empty() or second.is_empty():
        return None
    means = first.group_by("goal").agg(pl.col("score").mean()).sort("score", "goal", descending=[True, False])
    best = float(means["goal"][0])
    chosen = second.filter(pl.col("goal") == best)
    if chosen.is_empty():
        return None
    return best, bootstrap_mean(chosen["score"], clusters=chosen["prompt_id"]), second


def choose_best_goal(frame: pl.DataFrame, validation: float) -> BestGoal | None:
    """Choose the best overall goal.

    Args:
        frame: rows with ``prompt_id``, ``goal``, ``score``, and possibly ``split``.
        validation: share of the prompts that choose; a column ``split`` (validation, test) goes before it.

    Returns:
        None where there is nothing to choose or to measure.
    """
    if (choice := _choose_best(frame, validation)) is None:
        return None
    best, achieved, others = choice
    gain = compare_goals(others, best, float(str(frame["goal"].max())))
    return None if gain is None else BestGoal(best, achieved, gain)


def choose_best_vector(
    frame: pl.DataFrame, aspects: Sequence[str], weights: Mapping[str, float], validation: float
) -> BestVector | None:
    """Choose the best goal vector.

    Args:
        frame: rows with ``prompt_id``, ``goal.ASPECT`` and ``score.ASPECT`` of all aspects, ``score``, and possibly
            ``split``; those that lack a goal of an aspect are left out.
        aspects: that were asked for.
        weights: aspect -> weight in the score by which vectors are compared; none: the overall score, or the mean of
            the aspects where no row has one.
        validation: see `choose_best_goal`.

    Returns:
        None where there is nothing to choose or to measure.
    """
    names = [f"goal.{aspect}" for aspect in aspects]
    rows, score, text = _score_vectors(frame.drop_nulls(names) if names else frame.clear(), aspects, weights)
    if rows.is_empty():
        return None
    # A vector becomes one number, its place among the vectors, so that goals and vectors are compared alike.
    vectors = rows.select(names).unique().sort(names).with_row_index("goal").cast({"goal": pl.Float64})
    rows = rows.drop("goal", strict=False).with_columns(score=score).join(vectors, on=names, maintain_order="left")
    if (choice := _choose_best(rows, validation)) is None:
        return None
    best, achieved, others = choice
    goals = vectors.row(by_predicate=pl.col("goal") == best, named=True)
    highest = vectors.filter(pl.all_horizontal(pl.col(name) == pl.col(name).max() for name in names))["goal"]
    gain = None if highest.is_empty() else compare_goals(others, best, float(highest[0]))
    return BestVector({aspect: goals[f"goal.{aspect}"] for aspect in aspects}, text, achieved, gain)


def _score_vectors(
    rows: pl.DataFrame, aspects: Sequence[str], weights: Mapping[str, float]
) -> tuple[pl.DataFrame, pl.Expr, str]:
    """Find the score that vectors are compared by: the rows that have it, its expression, and its name."""
    if weights:
        parts = [pl.col(f"score.{aspect}") * (weight / sum(weights.values())) for aspect, weight in weights.items()]
        return rows.drop_nulls([f"score.{aspect}" for aspect in weights]), pl.sum_horizontal(parts), "weighted aspects"
    if rows["score"].is_not_null().any():
        return rows.drop_nulls("score"), pl.col("score"), "the overall score"
    scores = [f"score.{aspect}" for aspect in aspects]
    return rows.drop_nulls(scores or None), pl.mean_horizontal(scores or "score"), "the mean of the aspects"
