"""Control by goals: achieved against requested scores, overall and by aspect, and the best goal to ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
from pydantic import Field

from prefboost.chat import join_text
from prefboost.diagnosis.best_goal import BestGoal, BestVector, choose_best_goal, choose_best_vector
from prefboost.diagnosis.goal_control import GoalControl, measure_goal_control
from prefboost.errors import DataError, Place
from prefboost.settings import Settings
from prefboost.statistics import Interval, bootstrap_slope
from prefboost.statistics.json_form import replace_nan
from prefboost.tables import SCORED_COMPLETIONS, Table, aspects_of

__all__ = ["ControllabilityReport", "DiagnoseControllability", "measure_controllability"]


class DiagnoseControllability(Settings):
    """Settings of `measure_controllability`."""

    data_top: float | None = Field(
        None, description="Highest score in the training data; goals above it are extrapolation, and told apart."
    )
    data_tops: dict[str, float] = Field(
        {}, description="The same by aspect, for goals of aspects, e.g. data_tops.helpfulness=4."
    )
    weights: dict[str, float] = Field(
        {},
        description="Weights of aspects in the score by which the best goal vector is chosen; none: the overall score, "
        "or the mean of the aspects where completions have none.",
    )
    validation: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the prompts by which the best goal is chosen; a column split (validation, test) of the "
        "file goes before it.",
    )


@dataclass(frozen=True)
class ControllabilityReport:
    """Report of `measure_controllability`.

    Args:
        overall: control of the overall score by its goal; None where goals are of aspects alone.
        aspects: aspect -> slope of its score on the overall goal.
        best: goal chosen on validation prompts; None with one goal.
        vectors: aspect -> control of its score by its own goal; empty where goals are overall alone.
        best_vector: goal vector chosen on validation prompts; None with one vector.
        rejected: reason -> completions that are left out.
    """

    overall: GoalControl | None
    aspects: Mapping[str, Interval]
    best: BestGoal | None
    vectors: Mapping[str, GoalControl]
    best_vector: BestVector | None
    rejected: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return the JSON form: the overall score's control at the top; unknown ends of intervals are null."""
        values: dict[str, Any] = replace_nan(asdict(self))
        overall = values.pop("overall") or {"goals": []}
        return {**{name: value for name, value in overall.items() if name != "crosstalk"}, **values}

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        if self.overall is not None:
            yield from self.overall.lines()
        for aspect, slope in self.aspects.items():
            yield f"slope of {aspect}: {slope.format()}"
        if self.best is not None:
            yield (
                f"best goal by validation prompts: {self.best.goal:g}; on the others it achieves "
                f"{self.best.achieved.format()}, {self.best.gain.format(signed=True)} against the highest goal"
            )
        for aspect, control in self.vectors.items():
            yield f"{aspect}:"
            yield from (f"  {line}" for line in control.lines())
        if self.best_vector is not None:
            yield self.best_vector.line()
        for reason, count in self.rejected.items():
            yield f"{count:,} left out: {reason}"


def measure_controllability(table: Table, settings: DiagnoseControllability) -> ControllabilityReport:
    """Measure how a policy follows goals, on scored completions that know the goal they were asked for.

    Args:
        table: ScoredCompletions with the column ``goal``, or with columns ``goal.ASPECT`` for goal vectors, as
            `generate` with several goals and `score` write them.
        settings: of the report.

    Raises:
        DataError: the table holds no scored completions with a goal.
    """
    frame, aspects, rejected = _read_goal_rows(table)
    missing = [aspect for aspect in settings.weights if f"score.{aspect}" not in frame.columns]
    if missing:
        raise DataError(
            f"weights name aspects without a score: {', '.join(missing)}",
            remedy=f"the file has {', '.join(aspects_of(frame.schema, 'score')) or 'none'}",
            place=Place(path=table.path),
        )
    overall = frame.drop_nulls(["goal", "score"]) if "goal" in frame.columns else frame.clear()
    slopes = {
        aspect: bootstrap_slope(rated["goal"], rated[f"score.{aspect}"], clusters=rated["prompt_id"])
        for aspect in aspects_of(frame.schema, "score")
        # Where aspects have goals of their own, the overall one says nothing of them.
        if aspect not in aspects and not (rated := overall.drop_nulls(f"score.{aspect}")).is_empty()
    }
    columns = ("prompt_id", "goal", "score", "words")
    return ControllabilityReport(
        measure_goal_control(overall.select(columns), settings.data_top) if overall.height else None,
        slopes,
        choose_best_goal(overall, settings.validation),
        {
            aspect: measure_goal_control(rows, settings.data_tops.get(aspect))
            for aspect in aspects
            if not (rows := _select_aspect(frame, aspect, aspects)).is_empty()
        },
        choose_best_vector(frame, aspects, settings.weights, settings.validation),
        {reason: count for reason, count in rejected.items() if count},
    )


def _read_goal_rows(table: Table) -> tuple[pl.DataFrame, list[str], dict[str, int]]:
    """Read the completions with a goal and the score of it, and their words.

    Returns:
        the completions; the aspects that have goals; reason -> completions that are left out.
    """
    columns = table.frame.columns
    aspects = [aspect for aspect in aspects_of(columns, "goal") if f"score.{aspect}" in columns]
    goals = [name for name in ("goal", *(f"goal.{aspect}" for aspect in aspects)) if name in columns]
    if table.spec is not SCORED_COMPLETIONS or not goals:
        unscored = ", ".join(f"score.{aspect}" for aspect in aspects_of(columns, "goal"))
        lack = f" without {unscored}" if unscored else " without a column goal"
        raise DataError(
            f"scored completions with the goal they were asked for are needed, found {table.spec.name}"
            + ("" if goals else lack),
            remedy="prefboost generate MODEL PROMPTS goals=[1,4,7,10] ..., then prefboost score",
            place=Place(path=table.path),
        )
    has_goal = pl.any_horizontal(pl.col(name).is_not_null() for name in goals)
    has_both = pl.any_horizontal(
        pl.col(name).is_not_null() & pl.col(name.replace("goal", "score", 1)).is_not_null() for name in goals
    )
    rejected = {
        "it has no goal": table.frame.filter(~has_goal).height,
        "it has no score": table.frame.filter(has_goal & ~has_both).height,
    }
    frame = table.frame.filter(has_both)
    if frame.is_empty():
        raise DataError(
            f"none of {len(table):,} completions has a goal and a score",
            remedy="score completions that were generated for goals",
            place=Place(path=table.path),
        )
    words = [float(len(join_text(messages).split())) for messages in frame["completion"].to_list()]
    return frame.with_columns(words=pl.Series(words, dtype=pl.Float64)), aspects, rejected


def _select_aspect(frame: pl.DataFrame, aspect: str, aspects: list[str]) -> pl.DataFrame:
    """Select goal and score of one aspect, beside the goals of the others."""
    others = [f"goal.{other}" for other in aspects if other != aspect]
    rows = frame.drop_nulls([f"goal.{aspect}", f"score.{aspect}"])
    return rows.select("prompt_id", "words", *others, goal=pl.col(f"goal.{aspect}"), score=pl.col(f"score.{aspect}"))
