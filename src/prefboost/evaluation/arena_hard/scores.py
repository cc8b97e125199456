"""Scores of Arena-Hard-Auto: win rate against the baseline, style held equal where asked, with an interval.

official: as `show_result.py` does it. v0.1 fits Bradley-Terry and takes the 2.5th and 97.5th percentile of 100
resamples; v2.0 takes the mean (under style control the median) of 100 resamples with the 5th and 95th. Both draw rows,
of which a verdict >> makes three, as if they were independent, which makes intervals about half as wide as they are.
Style control is fitted to convergence here; the published 50 steps stop up to 1.1 points before it.

robust: both games of a question or none, questions drawn whole, one 95 % interval, and a controlled win rate that is
one at equal style. (The published features are centred, so that it is one at the average difference in style.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.arena_hard.judging import (
    ArenaRules,
    group_by_category,
    is_decisive,
    read_arena_facts,
)
from prefboost.evaluation.arena_hard.style import FEATURES, Style, density_differences, ratio_differences
from prefboost.evaluation.benchmark import JudgeVerdict, check_judged_once, is_withheld
from prefboost.evaluation.results import Figure
from prefboost.statistics import (
    Battles,
    Bootstrap,
    Interval,
    estimate_win_rate_errors,
    estimate_win_rates,
    fit_bradley_terry,
    resample_win_rates,
)
from prefboost.statistics.columns import FloatColumn

__all__ = ["CategoryScore", "score_categories"]

_PUBLISHED = {"v0.1": Bootstrap(resamples=100, level=0.95), "v2.0": Bootstrap(resamples=100, level=0.90)}


@dataclass(frozen=True)
class CategoryScore:
    """Scores of all models in one category.

    Args:
        category: name of the category.
        baseline: model that the others are compared with.
        figures: win rate of each model in percent, best first. The standard error counts a question once; the official
            mode has none. Bounds take every missing verdict as a heavy loss or win, without style control.
        style: feature -> log-odds per unit of its relative difference; empty without style control.
    """

    category: str
    baseline: str
    figures: tuple[Figure, ...]
    style: Mapping[str, float]


class _Fit(NamedTuple):
    """Win rate (0..1) and its standard error per model, and log-odds per feature of style."""

    rates: Mapping[str, Interval]
    errors: Mapping[str, float]
    style: Mapping[str, float]


@dataclass(frozen=True)
class _Contest:
    """Verdicts of one category, and how they are scored."""

    category: str
    baseline: str
    rules: ArenaRules
    verdicts: Sequence[JudgeVerdict] = field(repr=False)


def score_categories(
    verdicts: Sequence[JudgeVerdict], rules: ArenaRules, *, allow_missing: bool = False
) -> list[CategoryScore]:
    """Score every model in every category.

    Args:
        verdicts: both games of each question, of any models and judges; verdicts of several judges all count.
        rules: version, mode, categories, style control, weight.
        allow_missing: give a win rate however many verdicts are missing.

    Raises:
        DataError: a category has no verdict, a verdict lacks the style that is held equal, or a game was judged twice.
    """
    scores = []
    for category, group in group_by_category(verdicts, rules).items():
        check_judged_once(group, "keep one verdict per game: files that were appended to twice count questions twice")
        contest = _Contest(category, rules.find_baseline(category), rules, group)
        scores.append(_score_category(contest, allow_missing))
    return scores


def _score_category(contest: _Contest, allow_missing: bool) -> CategoryScore:
    rules, usable = contest.rules, _select_usable(contest)
    if not usable:
        fit = _Fit({}, {}, {})
    elif rules.mode == "official":
        fit = _fit_official(usable, contest)
    else:
        # Clusters are questions: both games and all judges of a question share its difficulty.
        weights = [float(rules.weight if is_decisive(verdict) else 1) for verdict in usable]
        battles = _build_battles(usable, contest, weights, [verdict.uid for verdict in usable])
        fit = _Fit(
            estimate_win_rates(battles, contest.baseline, how=rules.interval),
            estimate_win_rate_errors(battles, contest.baseline),
            fit_bradley_terry(battles, contest.baseline).style,
        )
    control = " and ".join(rules.control)
    figures = []
    for model in dict.fromkeys(verdict.model for verdict in contest.verdicts if verdict.model != contest.baseline):
        group = [verdict for verdict in contest.verdicts if verdict.model == model]
        missing = sum(verdict.value is None for verdict in group)
        # Bounds: every missing verdict was a heavy loss, or a heavy win. It may have been decisive: it has full weight.
        shares = [(verdict.value, rules.weight if is_decisive(verdict) else 1) for verdict in group]
        wins = sum(share * times for share, times in shares if share is not None)
        heavy = rules.weight * missing
        total = sum(times for share, times in shares if share is not None) + heavy
        error = fit.errors.get(model, math.nan)
        withheld = model not in fit.rates or is_withheld(missing, len(group), allow_missing=allow_missing)
        figures.append(
            Figure(
                "win_rate",
                model,
                None if withheld else fit.rates[model].scale(100),
                missing,
                len(group),
                group=contest.category,
                error=None if math.isnan(error) else 100 * error,
                bounds=(100 * wins / total, 100 * (wins + heavy) / total),
                note=f"{control} held equal" if control else "",
            )
        )
    ranked = sorted(figures, key=lambda figure: figure.rank, reverse=True)
    return CategoryScore(contest.category, contest.baseline, tuple(ranked), fit.style)


def _select_usable(contest: _Contest) -> list[JudgeVerdict]:
    """Select verdicts with a label; v2.0 and the robust mode need both games of a question."""
    rated = [verdict for verdict in contest.verdicts if verdict.model != contest.baseline]
    if contest.rules.mode == "official" and contest.rules.version == "v0.1":
        return [verdict for verdict in rated if verdict.value is not None]
    games: dict[tuple[str, ...], set[int]] = {}
    for verdict in rated:
        if verdict.value is not None:
            key = (verdict.uid, verdict.model, verdict.judge)
            games.setdefault(key, set()).add(read_arena_facts(verdict)["game"])
    # One order alone would let the judge's preference for a place into the win rate.
    return [v for v in rated if games.get((v.uid, v.model, v.judge)) == {1, 2}]


def _fit_official(verdicts: Sequence[JudgeVerdict], contest: _Contest) -> _Fit:
    # Upstream repeats a decisive verdict instead of weighting it, and resamples the repeated rows.
    rows = [row for row in verdicts for _ in range(contest.rules.weight if is_decisive(row) else 1)]
    how = _PUBLISHED[contest.rules.version].model_copy(update={"seed": contest.rules.interval.seed})
    battles = _build_battles(rows, contest, None, None)
    if contest.rules.version == "v0.1":
        # The published v0.1 control is scikit-learn's ridge of 1 on rows that are listed twice, with strengths in
        # powers of ten.
        ridge = 0.5 / math.log(10) ** 2 if battles.style else 1e-9
        fitted = fit_bradley_terry(battles, contest.baseline, ridge=ridge)
        draws = resample_win_rates(battles, contest.baseline, how=how, ridge=ridge)
        estimates = {model: fitted.win_rate(model) for model in draws}
        style = fitted.style if battles.style else {}
    elif battles.style:
        draws = resample_win_rates(battles, contest.baseline, how=how)
        estimates = {model: float(np.median(draw)) for model, draw in draws.items()}
        style = fit_bradley_terry(battles, contest.baseline, ridge=1e-9).style
    else:
        # Without style control v2.0 publishes each model's mean over resamples of its own rows.
        means = {}
        for model in dict.fromkeys(row.model for row in rows):
            shares = np.array([row.value or 0.0 for row in rows if row.model == model], dtype=np.float64)
            # Upstream starts the generator anew for every model.
            places = np.random.default_rng(how.seed).integers(len(shares), size=(how.resamples, len(shares)))
            draw = shares[places].mean(1)
            means[model] = Interval.from_percentiles(
                float(draw.mean()), draw, level=how.level, rows=len(shares), clusters=len(shares)
            )
        return _Fit(means, {}, {})
    rates = {
        model: Interval.from_percentiles(
            estimates[model], draw, level=how.level, rows=len(rows), clusters=len(rows)
        )
        for model, draw in draws.items()
    }  # fmt: skip
    return _Fit(rates, {}, style)


def _build_battles(
    verdicts: Sequence[JudgeVerdict],
    contest: _Contest,
    weights: Sequence[float] | None,
    clusters: Sequence[str] | None,
) -> Battles:
    return Battles(
        [verdict.model for verdict in verdicts],
        [contest.baseline] * len(verdicts),
        [verdict.value or 0.0 for verdict in verdicts],
        weights,
        clusters,
        _build_features(verdicts, contest),
    )


def _build_features(verdicts: Sequence[JudgeVerdict], contest: _Contest) -> dict[str, FloatColumn]:
    """Build the columns that are held equal, each [N]; the official mode centres and scales them over all rows."""
    names = [name for control in contest.rules.control for name in FEATURES[control]]
    if not names:
        return {}
    absent = [
        (model, verdict.uid)
        for verdict in verdicts
        for model, prefix in ((verdict.model, ""), (contest.baseline, "baseline_"))
        if _read_style(verdict, prefix) is None
    ]
    if absent:
        raise DataError(
            f"{len(absent)} answers have no style, such as that of {absent[0][0]} to {absent[0][1]}",
            remedy="judge the completions again with this version, or set control to ()",
        )
    models, baselines = (
        [style for verdict in verdicts if (style := _read_style(verdict, prefix)) is not None]
        for prefix in ("", "baseline_")
    )
    is_old = contest.rules.version == "v0.1"
    columns = (ratio_differences if is_old else density_differences)(models, baselines)
    if contest.rules.mode == "robust":
        return {name: columns[name] for name in names}
    standardised = {}
    for name in names:
        column = columns[name]
        # v0.1 divides by the population's deviation, with strengths in powers of ten.
        spread = float(column.std(ddof=0 if is_old else 1)) if len(column) > 1 else 0.0
        centred = (column - column.mean()) / (spread if spread > 0 else 1.0)
        standardised[name] = centred / math.log(10) if is_old else centred
    return standardised


def _read_style(verdict: JudgeVerdict, prefix: str) -> Style | None:
    """Read the style of the model's completion (no prefix) or the baseline's; None where a count is absent."""
    counts: list[Any] = [verdict.facts.get(f"{prefix}{name}") for name in ("length", "headers", "lists", "bold")]
    return None if None in counts else Style(*map(int, counts))
