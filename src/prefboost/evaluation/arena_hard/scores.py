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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prefboost.errors import DataError
from prefboost.evaluation.arena_hard.judging import ArenaRules, Game, categories_of
from prefboost.evaluation.arena_hard.style import FEATURES, Style, density_differences, ratio_differences
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

__all__ = ["ArenaScore", "Styles", "arena_scores"]

Styles = Mapping[tuple[str, str], Style]
"""(model, uid) -> the style of its answer."""

TOLD = 0.01
"""Share of games without a verdict above which a win rate is withheld."""

_PUBLISHED = {"v0.1": Bootstrap(resamples=100, level=0.95), "v2.0": Bootstrap(resamples=100, level=0.90)}


@dataclass(frozen=True)
class ArenaScore:
    """One model in one category, in percent.

    Args:
        category: what was scored.
        model: who was scored.
        baseline: against whom.
        win_rate: 0..100; None where too many verdicts are missing.
        error: standard error that counts questions as one, in percent; NaN under the official mode.
        missing: games without a verdict.
        games: all games.
        bounds: the win rate if every missing verdict was a heavy loss, and if it was a heavy win; no style control.
        style: feature -> log-odds of one unit of its relative difference.
    """

    category: str
    model: str
    baseline: str
    win_rate: Interval | None
    error: float
    missing: int
    games: int
    bounds: tuple[float, float]
    style: Mapping[str, float]


@dataclass(frozen=True)
class _Task:
    """What is scored together: one category."""

    category: str
    baseline: str
    settings: ArenaRules
    styles: Styles | None
    how: Bootstrap


def arena_scores(
    games: Iterable[Game],
    settings: ArenaRules,
    *,
    styles: Styles | None = None,
    how: Bootstrap | None = None,
    allow_missing: bool = False,
) -> list[ArenaScore]:
    """Score every model in every wanted category.

    Args:
        games: both games of each question, of any models and judges; several judges' verdicts count beside each other.
        settings: version, mode, categories, style control, weight.
        styles: of all answers, the baseline's too; needed for style control.
        how: instead of ``settings.interval``; the official mode has its own, and takes the seed.
        allow_missing: give a win rate however many verdicts are missing.

    Returns:
        by category, best first.

    Raises:
        DataError: no games, a style is missing, or a game stands twice.
    """
    found = []
    for category, own in categories_of(games, settings).items():
        _check_single(own)
        found += _scored(
            own,
            _Task(category, settings.baseline_of(category), settings, styles, how or settings.interval),
            allow_missing,
        )
    return found


def _scored(games: Sequence[Game], task: _Task, allow_missing: bool) -> list[ArenaScore]:
    usable = _usable(games, task)
    rates: dict[str, Interval] = {}
    errors: dict[str, float] = {}
    style: Mapping[str, float] = {}
    if usable:
        rates, errors, style = (_official if task.settings.mode == "official" else _robust)(usable, task)
    found = []
    for model in dict.fromkeys(game.model for game in games if game.model != task.baseline):
        its = [game for game in games if game.model == model]
        missing = sum(game.label is None for game in its)
        withheld = model not in rates or (missing > TOLD * len(its) and not allow_missing)
        found.append(
            ArenaScore(
                task.category,
                model,
                task.baseline,
                None if withheld else rates[model].scale(100),
                100 * errors.get(model, math.nan),
                missing,
                len(its),
                _bounds(its, task.settings.weight),
                style,
            )
        )
    return sorted(found, key=lambda score: -(score.win_rate.estimate if score.win_rate else sum(score.bounds) / 2))


def _usable(games: Sequence[Game], task: _Task) -> list[Game]:
    """v0.1 leaves out a game without a verdict; v2.0 and the robust mode the other game of the question too."""
    if task.settings.mode == "official" and task.settings.version == "v0.1":
        return [game for game in games if game.label is not None and game.model != task.baseline]
    told: dict[tuple[str, ...], set[int]] = {}
    for game in games:
        if game.label is not None:
            told.setdefault((game.uid, game.model, game.judge), set()).add(game.game)
    return [g for g in games if told.get((g.uid, g.model, g.judge)) == {1, 2} and g.model != task.baseline]


def _robust(games: Sequence[Game], task: _Task) -> tuple[dict[str, Interval], dict[str, float], Mapping[str, float]]:
    battles = _battles(games, task, _weights(games, task), [game.uid for game in games])
    return (
        estimate_win_rates(battles, task.baseline, how=task.how),
        estimate_win_rate_errors(battles, task.baseline),
        fit_bradley_terry(battles, task.baseline).style,
    )


def _official(games: Sequence[Game], task: _Task) -> tuple[dict[str, Interval], dict[str, float], Mapping[str, float]]:
    rows = [game for game, times in zip(games, _weights(games, task), strict=True) for _ in range(int(times))]
    how = _PUBLISHED[task.settings.version].model_copy(update={"seed": task.how.seed})
    old = task.settings.version == "v0.1"
    battles = _battles(rows, task, None, None)
    # The published v0.1 control is scikit-learn's ridge of 1 on rows that stand twice and strengths in powers of ten.
    ridge = 0.5 / math.log(10) ** 2 if old and battles.style else 1e-9
    style = fit_bradley_terry(battles, task.baseline, ridge=ridge).style if battles.style else {}
    if old:
        fitted = fit_bradley_terry(battles, task.baseline, ridge=ridge)
        draws = resample_win_rates(battles, task.baseline, how=how, ridge=ridge)
        return {name: _of_draws(own, fitted.win_rate(name), how, rows) for name, own in draws.items()}, {}, style
    if battles.style:
        draws = resample_win_rates(battles, task.baseline, how=how)
        return {name: _of_draws(own, float(np.median(own)), how, rows) for name, own in draws.items()}, {}, style
    return {name: _mean_of(name, rows, how) for name in dict.fromkeys(game.model for game in rows)}, {}, {}


def _mean_of(model: str, rows: Sequence[Game], how: Bootstrap) -> Interval:
    """The mean over resamples of a model's own rows."""
    own = np.array([game.share for game in rows if game.model == model], dtype=np.float64)
    drawn = own[np.random.default_rng(how.seed).integers(len(own), size=(how.resamples, len(own)))].mean(1)
    its = [game for game in rows if game.model == model]
    return _of_draws(drawn, float(drawn.mean()), how, its)


def _of_draws(draws: FloatColumn, estimate: float, how: Bootstrap, rows: Sequence[Game]) -> Interval:
    return Interval.from_percentiles(estimate, draws, level=how.level, rows=len(rows), clusters=len(rows))


def _weights(games: Sequence[Game], task: _Task) -> list[float]:
    return [float(task.settings.weight if game.is_much else 1) for game in games]


def _battles(
    games: Sequence[Game], task: _Task, weights: Sequence[float] | None, clusters: Sequence[str] | None
) -> Battles:
    return Battles(
        [game.model for game in games],
        [task.baseline] * len(games),
        [game.share or 0.0 for game in games],
        weights,
        clusters,
        _features(games, task),
    )


def _features(games: Sequence[Game], task: _Task) -> dict[str, FloatColumn]:
    """What is held equal; the official mode centres and scales it over all rows."""
    wanted = [name for kind in task.settings.control for name in FEATURES[kind]]
    if not wanted:
        return {}
    if task.styles is None:
        raise DataError("style control needs the style of every answer", remedy="give styles, or set control to ()")
    missing = [
        (name, game.uid)
        for game in games
        for name in (game.model, task.baseline)
        if (name, game.uid) not in task.styles
    ]
    if missing:
        raise DataError(
            f"{len(missing)} answers have no style, such as that of {missing[0][0]} to {missing[0][1]}",
            remedy="give the style of every model's and the baseline's answers",
        )
    own = [task.styles[game.model, game.uid] for game in games]
    other = [task.styles[task.baseline, game.uid] for game in games]
    old = task.settings.version == "v0.1"
    columns = (ratio_differences if old else density_differences)(own, other)
    if task.settings.mode == "robust":
        return {name: columns[name] for name in wanted}
    return {name: _standard(columns[name], old) for name in wanted}


def _standard(column: FloatColumn, old: bool) -> FloatColumn:
    """Centred and scaled; v0.1 divides by the population's deviation, and its strengths are in powers of ten."""
    spread = float(column.std(ddof=0 if old else 1)) if len(column) > 1 else 0.0
    centred: FloatColumn = (column - column.mean()) / (spread if spread > 0 else 1.0)
    return centred / math.log(10) if old else centred


def _bounds(games: Sequence[Game], weight: int) -> tuple[float, float]:
    told = [(game.share, weight if game.is_much else 1) for game in games if game.share is not None]
    missing = weight * sum(game.label is None for game in games)
    won, total = sum(share * times for share, times in told), sum(times for _, times in told) + missing
    return (100 * won / total, 100 * (won + missing) / total)


def _check_single(games: Sequence[Game]) -> None:
    seen: set[tuple[str, str, int, str]] = set()
    for game in games:
        key = (game.uid, game.model, game.game, game.judge)
        if key in seen:
            raise DataError(
                f"game {game.game} of {game.model} on {game.uid} was judged twice by {game.judge or 'the judge'}",
                remedy="keep one verdict a game: files that were appended to twice count questions twice",
            )
        seen.add(key)
