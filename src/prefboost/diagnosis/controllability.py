"""Control by goals: achieved against requested scores of a policy, and the part of it that goes with length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from prefboost.chat import join_text
from prefboost.errors import DataError, Place
from prefboost.preferences.draw import draw_share
from prefboost.settings import Settings
from prefboost.statistics import Interval, bootstrap, bootstrap_mean, bootstrap_slope, fit_slope
from prefboost.statistics.json_form import replace_nan
from prefboost.statistics.rank_correlation import spearman
from prefboost.tables import EVALUATION_SPLITS, SCORED_COMPLETIONS, Table, aspects_of

__all__ = ["BestGoal", "ControllabilityReport", "DiagnoseControllability", "GoalResponse", "measure_controllability"]

_SEED = 7
"""Of the draw of prompts that choose the best goal, where the file has no column ``split``."""


class DiagnoseControllability(Settings):
    """Settings of `measure_controllability`."""

    data_top: float | None = Field(
        None, description="Highest score in the training data; goals above it are extrapolation, and told apart."
    )
    validation: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of the prompts by which the best goal is chosen; a column split (validation, test) of the "
        "file goes before it.",
    )


@dataclass(frozen=True)
class GoalResponse:
    """Response of a policy to one goal.

    Args:
        goal: the score that was asked for.
        achieved: mean score.
        words: mean words of a completion.
        extrapolated: the goal lies above the highest score of the training data.
    """

    goal: float
    achieved: Interval
    words: Interval
    extrapolated: bool


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
class ControllabilityReport:
    """Report of `measure_controllability`.

    Args:
        goals: response to every goal, in rising order.
        slope: achieved points per requested point: 1 follows exactly, 0 ignores the goal.
        spearman: rank correlation of requested and achieved scores, -1..1.
        calibration_error: root mean square, over goals, of mean achieved minus requested score, in points.
        slope_at_equal_length: the slope once completions are compared at equal length (linear in words).
        length_share: share of the slope that goes with length: 1 - slope at equal length / slope; None where the
            slope's interval holds 0, so that there is nothing to share.
        aspects: aspect -> slope of its score on the goal.
        best: goal chosen on validation prompts; None with one goal.
        extrapolation: mean score of the highest goal above the training data's scores minus that of the highest within
            them, paired by prompt; None where nothing was asked above, or within.
        rejected: reason -> completions that are left out.
    """

    goals: tuple[GoalResponse, ...]
    slope: Interval
    spearman: Interval
    calibration_error: Interval
    slope_at_equal_length: Interval
    length_share: Interval | None
    aspects: Mapping[str, Interval]
    best: BestGoal | None
    extrapolation: Interval | None
    rejected: Mapping[str, int]

    def record(self) -> dict[str, Any]:
        """Return the JSON form; unknown ends of intervals are null."""
        values: dict[str, Any] = replace_nan(asdict(self))
        return values

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"{'asked for':>10}  achieved, 95 % interval over prompts"
        for each in self.goals:
            beyond = "  above the training data's scores" if each.extrapolated else ""
            yield f"{each.goal:>10g}  {each.achieved.format()}  ({each.words.estimate:,.0f} words){beyond}"
        at_equal_length = self.slope_at_equal_length.format()
        yield f"slope: {self.slope.format()} points per point asked for; at equal length {at_equal_length}"
        if self.length_share is not None:
            yield f"share of the slope that goes with length: {self.length_share.format()}"
        yield f"rank correlation: {self.spearman.format()}; calibration error: {self.calibration_error.format()} points"
        for aspect, slope in self.aspects.items():
            yield f"slope of {aspect}: {slope.format()}"
        if self.best is not None:
            yield (
                f"best goal by validation prompts: {self.best.goal:g}; on the others it achieves "
                f"{self.best.achieved.format()}, {self.best.gain.format(signed=True)} against the highest goal"
            )
        if self.extrapolation is not None:
            # The interval decides the word: a gain that it does not show is none.
            gain = "more" if self.extrapolation.estimate > 0 else "less"
            verdict = gain if self.extrapolation.excludes(0.0) else "neither more nor less, as far as this shows,"
            yield (
                f"above the training data's scores: {self.extrapolation.format(signed=True)} points, {verdict} than "
                "the highest goal within them achieves"
            )
        for reason, count in self.rejected.items():
            yield f"{count:,} left out: {reason}"


def measure_controllability(table: Table, settings: DiagnoseControllability) -> ControllabilityReport:
    """Measure how a policy follows goals, on scored completions that know the goal they were asked for.

    Args:
        table: ScoredCompletions with the column ``goal``, as `generate` with several goals and `score` write them.
        settings: of the report.

    Raises:
        DataError: the table holds no scored completions with a goal.
    """
    frame, rejected = _read_goal_rows(table)
    words = np.array([float(len(join_text(messages).split())) for messages in frame["completion"].to_list()])
    goal, achieved = frame["goal"].to_numpy(), frame["score"].to_numpy()
    clusters = frame["prompt_id"].to_numpy().astype(str)
    slope = bootstrap_slope(goal, achieved, clusters=clusters)
    responses = [
        GoalResponse(
            float(each),
            bootstrap_mean(achieved[goal == each], clusters=clusters[goal == each]),
            bootstrap_mean(words[goal == each], clusters=clusters[goal == each]),
            settings.data_top is not None and bool(each > settings.data_top),
        )
        for each in np.unique(goal)
    ]
    above, within = ([each.goal for each in responses if each.extrapolated is beyond] for beyond in (True, False))
    aspects = {
        aspect: bootstrap_slope(rated["goal"], rated[f"score.{aspect}"], clusters=rated["prompt_id"])
        for aspect in aspects_of(frame.schema, "score")
        if not (rated := frame.drop_nulls(f"score.{aspect}")).is_empty()
    }

    def compute_calibration_error(goal: np.ndarray, achieved: np.ndarray) -> float:
        gaps = [achieved[goal == each].mean() - each for each in np.unique(goal)]
        return float(np.sqrt(np.mean(np.square(gaps))))

    return ControllabilityReport(
        tuple(responses),
        slope,
        bootstrap(spearman, goal, achieved, clusters=clusters),
        bootstrap(compute_calibration_error, goal, achieved, clusters=clusters),
        bootstrap(_fit_slope_at_equal_length, goal, achieved, words, clusters=clusters),
        bootstrap(_compute_length_share, goal, achieved, words, clusters=clusters) if slope.excludes(0.0) else None,
        aspects,
        _choose_best_goal(frame, settings),
        _compare_goals(frame, max(above), max(within)) if above and within else None,
        {reason: count for reason, count in rejected.items() if count},
    )


def _read_goal_rows(table: Table) -> tuple[pl.DataFrame, dict[str, int]]:
    """Read the completions that have a goal and a score, and count the others by reason."""
    if table.spec is not SCORED_COMPLETIONS or "goal" not in table.frame.columns:
        raise DataError(
            f"scored completions with the goal they were asked for are needed, found {table.spec.name}"
            + ("" if "goal" in table.frame.columns else " without a column goal"),
            remedy="prefboost generate PROMPTS goals=[1,4,7,10] ..., then prefboost score",
            place=Place(path=table.path),
        )
    missing = {"it has no goal": pl.col("goal").is_null(), "it has no score": pl.col("score").is_null()}
    rejected = {reason: table.frame.filter(rule).height for reason, rule in missing.items()}
    frame = table.frame.filter(pl.col("goal").is_not_null() & pl.col("score").is_not_null())
    if frame.is_empty():
        raise DataError(
            f"none of {len(table):,} completions has a goal and a score",
            remedy="score completions that were generated for goals",
            place=Place(path=table.path),
        )
    return frame, rejected


def _fit_slope_at_equal_length(goal: np.ndarray, achieved: np.ndarray, words: np.ndarray) -> float:
    """Fit achieved = a + b goal + c words by least squares, and return b."""
    design = np.column_stack([np.ones_like(goal), goal, words])
    # The pseudoinverse gives a finite answer where a resample has completions of one length only.
    return float((np.linalg.pinv(design) @ achieved)[1])


def _compute_length_share(goal: np.ndarray, achieved: np.ndarray, words: np.ndarray) -> float:
    slope = fit_slope(goal, achieved)
    return 1 - _fit_slope_at_equal_length(goal, achieved, words) / slope if slope else float("nan")


def _choose_best_goal(frame: pl.DataFrame, settings: DiagnoseControllability) -> BestGoal | None:
    """Choose on one part of the prompts, measure on the other: where it won, the best of several means is too high."""
    if frame["goal"].n_unique() < 2:
        return None
    marked = frame["split"].is_in(EVALUATION_SPLITS) if "split" in frame.columns else pl.Series([False])
    chooses = (
        frame["split"] == "validation"
        if marked.any()
        else frame.select(draw_share(_SEED, "prompt_id") < settings.validation).to_series()
    )
    first, second = frame.filter(chooses), frame.filter(~chooses)
    if first.is_empty() or second.is_empty():
        return None
    means = first.group_by("goal").agg(pl.col("score").mean()).sort("score", "goal", descending=[True, False])
    best, top = float(means["goal"][0]), float(str(frame["goal"].max()))
    chosen = second.filter(pl.col("goal") == best)
    gain = _compare_goals(second, best, top)
    if gain is None:
        return None
    return BestGoal(best, bootstrap_mean(chosen["score"], clusters=chosen["prompt_id"]), gain)


def _compare_goals(frame: pl.DataFrame, first: float, second: float) -> Interval | None:
    """Estimate the mean score of one goal minus that of another over the prompts that have both; None without any."""
    by_goal = frame.group_by("prompt_id", "goal").agg(pl.col("score").mean())
    both = by_goal.filter(pl.col("goal") == first).join(by_goal.filter(pl.col("goal") == second), on="prompt_id")
    if both.is_empty():
        return None
    return bootstrap_mean(both["score"] - both["score_right"], clusters=both["prompt_id"])
