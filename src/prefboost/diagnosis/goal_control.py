"""Control of one score by its goal: achieved against requested, and the part of it that goes with length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from prefboost.statistics import Interval, bootstrap, bootstrap_mean
from prefboost.statistics.least_squares import ResampledFits
from prefboost.statistics.rank_correlation import spearman

__all__ = ["GoalControl", "GoalResponse", "compare_goals", "measure_goal_control"]


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
class GoalControl:
    """Control of a score, overall or of one aspect, by its goal.

    Args:
        goals: response to every goal, in rising order.
        slope: achieved points per requested point: 1 follows exactly, 0 ignores the goal. Of an aspect: at equal goals
            of the other aspects (least squares).
        spearman: rank correlation of requested and achieved scores, -1..1.
        calibration_error: root mean square, over goals, of mean achieved minus requested score, in points.
        slope_at_equal_length: the slope once completions are compared at equal length (linear in words).
        length_share: share of the slope that goes with length: 1 - slope at equal length / slope; None where the
            slope's interval holds 0, so that there is nothing to share.
        extrapolation: mean score of the highest goal above the training data's scores minus that of the highest within
            them, paired by prompt; None where nothing was asked above, or within.
        crosstalk: other aspect -> points that this score changes per point asked for of the other one.
    """

    goals: tuple[GoalResponse, ...]
    slope: Interval
    spearman: Interval
    calibration_error: Interval
    slope_at_equal_length: Interval
    length_share: Interval | None
    extrapolation: Interval | None
    crosstalk: Mapping[str, Interval] = field(default_factory=dict)

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
        for other, effect in self.crosstalk.items():
            yield f"change per point asked for of {other}: {effect.format(signed=True)} points"
        if self.extrapolation is not None:
            # The interval decides the word: a gain that it does not show is none.
            gain = "more" if self.extrapolation.estimate > 0 else "less"
            verdict = gain if self.extrapolation.excludes(0.0) else "neither more nor less, as far as this shows,"
            yield (
                f"above the training data's scores: {self.extrapolation.format(signed=True)} points, {verdict} than "
                "the highest goal within them achieves"
            )


def measure_goal_control(frame: pl.DataFrame, data_top: float | None) -> GoalControl:
    """Measure how a score follows its goal.

    Args:
        frame: rows with ``prompt_id``, ``goal`` and ``score``, both finite, and ``words``; further columns
            ``goal.NAME`` hold the goals of other aspects that were asked for with it.
        data_top: highest score in the training data; goals above it are extrapolation. None: not known.
    """
    goal, achieved, words = (frame[name].to_numpy().astype(float) for name in ("goal", "score", "words"))
    clusters = frame["prompt_id"].to_numpy().astype(str)
    responses = [
        GoalResponse(
            float(each),
            bootstrap_mean(achieved[goal == each], clusters=clusters[goal == each]),
            bootstrap_mean(words[goal == each], clusters=clusters[goal == each]),
            data_top is not None and bool(each > data_top),
        )
        for each in np.unique(goal)
    ]
    above, within = ([each.goal for each in responses if each.extrapolated is beyond] for beyond in (True, False))
    names = [name for name in frame.columns if name.startswith("goal.") and frame[name].drop_nulls().n_unique() > 1]
    # A goal that was not asked for beside the others says nothing: at its column's mean it has no part in the fit.
    others = [frame[name].fill_null(strategy="mean").to_numpy().astype(float) for name in names]

    def compute_calibration_error(goal: np.ndarray, achieved: np.ndarray) -> float:
        gaps = [achieved[goal == each].mean() - each for each in np.unique(goal)]
        return float(np.sqrt(np.mean(np.square(gaps))))

    # Columns of the fits: the goal, the other aspects' goals, and last the words.
    fits = ResampledFits(achieved, [goal, *others, words], clusters=clusters)
    beside, length = range(1, 1 + len(others)), 1 + len(others)
    slope = fits.estimate_slope(0, beside)
    return GoalControl(
        tuple(responses),
        slope,
        bootstrap(spearman, goal, achieved, clusters=clusters),
        bootstrap(compute_calibration_error, goal, achieved, clusters=clusters),
        fits.estimate_slope(0, [*beside, length]),
        fits.estimate_share(length, 0, beside) if slope.excludes(0.0) else None,
        compare_goals(frame, max(above), max(within)) if above and within else None,
        {
            name.removeprefix("goal."): fits.estimate_slope(at, [0, *(other for other in beside if other != at)])
            for at, name in zip(beside, names, strict=True)
        },
    )


def compare_goals(frame: pl.DataFrame, first: float, second: float) -> Interval | None:
    """Estimate the mean score of one goal minus that of another over the prompts that have both; None without any."""
    by_goal = frame.group_by("prompt_id", "goal").agg(pl.col("score").mean())
    both = by_goal.filter(pl.col("goal") == first).join(by_goal.filter(pl.col("goal") == second), on="prompt_id")
    if both.is_empty():
        return None
    return bootstrap_mean(both["score"] - both["score_right"], clusters=both["prompt_id"])
