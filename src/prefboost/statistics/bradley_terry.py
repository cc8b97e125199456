"""Bradley-Terry strengths of models from battles, with weights, soft outcomes and style, fitted to convergence.

Bradley and Terry (1952), Rank analysis of incomplete block designs: P(a beats b) = sigmoid(s_a - s_b + x beta), x the
difference in style of the two answers (arXiv 2403.04132, style control). Answers to one prompt, both orders of showing
and repeated rows are one cluster: errors and intervals count clusters, not rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, expand_percentiles
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval

__all__ = [
    "Battles",
    "BradleyTerryFit",
    "fit_bradley_terry",
    "resample_win_rates",
    "estimate_win_rate_errors",
    "estimate_win_rates",
]

SLIGHT = 1e-9
"""Ridge that keeps a strength finite where a model has won, or lost, every battle; elsewhere it changes nothing."""

_STEPS, _CLOSE, _FLAT = 200, 1e-10, 1e-13


@dataclass(frozen=True)
class Battles:
    """N comparisons of two models.

    Args:
        first: N names.
        second: N names.
        won: N shares of the win that went to the first, 0..1; 0.5 is a tie.
        weights: N numbers >= 0, how often a row counts; None: once.
        clusters: N labels (prompts); None: every row is its own.
        style: feature -> N numbers, of the first answer less of the second; swapping the two changes the sign.
    """

    first: Sequence[str]
    second: Sequence[str]
    won: ArrayLike
    weights: ArrayLike | None = None
    clusters: ArrayLike | None = None
    style: Mapping[str, ArrayLike] = field(default_factory=dict)


@dataclass(frozen=True)
class BradleyTerryFit:
    """Fitted strengths.

    Args:
        strengths: model -> log-odds against the baseline at equal style; the baseline's own is 0.
        style: feature -> log-odds for one unit of it.
        baseline: against whom win rates are given.
    """

    strengths: Mapping[str, float]
    style: Mapping[str, float]
    baseline: str

    def win_rate(self, model: str, against: str | None = None) -> float:
        """Probability, 0..1, that a model beats another (default: the baseline), both answers of equal style."""
        other = self.strengths[self.baseline if against is None else against]
        return float(_sigmoid(np.array(self.strengths[model] - other)))


@dataclass(frozen=True)
class _Rows:
    """Rows sorted by pair of models, equal ones of a cluster added up.

    Args:
        names: M models.
        design: +1 and -1 of every pair of models [K, M].
        starts: where the rows of each pair begin [K].
        pair: of every row, 0..K-1 [N].
        won, weights, cluster: [N].
        style: [N, F].
        clusters: how many there are.
    """

    names: list[str]
    design: FloatColumn
    starts: NDArray[np.intp]
    pair: NDArray[np.intp]
    won: FloatColumn
    weights: FloatColumn
    cluster: NDArray[np.intp]
    style: FloatColumn
    clusters: int


def fit_bradley_terry(battles: Battles, baseline: str, *, ridge: float = SLIGHT) -> BradleyTerryFit:
    """The strengths of maximum likelihood, by Newton's method to convergence.

    Args:
        battles: comparisons; models that no chain of battles ties to the baseline cannot be rated.
        baseline: the model whose strength is 0.
        ridge: penalty ridge/2 (|s|^2 + |beta|^2), strengths summing to 0; the default is as good as none.

    Raises:
        DataError: columns of different lengths, numbers out of range, or a model that is not tied to the baseline.
    """
    rows = _rows_of(battles, baseline)
    solved = _fitted(rows, rows.weights, ridge, np.zeros(len(rows.names) + rows.style.shape[1]))
    count = len(rows.names)
    zero = solved[rows.names.index(baseline)]
    return BradleyTerryFit(
        {name: float(solved[at] - zero) for at, name in enumerate(rows.names)},
        dict(zip(battles.style, map(float, solved[count:]), strict=True)),
        baseline,
    )


def estimate_win_rate_errors(battles: Battles, baseline: str) -> dict[str, float]:
    """Model -> standard error of its win rate against the baseline, clusters independent (Liang and Zeger 1986).

    Returns:
        in 0..1; 0 for the baseline; NaN where there are fewer than two clusters.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    rows = _rows_of(battles, baseline)
    count = len(rows.names)
    if rows.clusters < 2:
        return dict.fromkeys(rows.names, float("nan"))
    solved = _fitted(rows, rows.weights, SLIGHT, np.zeros(count + rows.style.shape[1]))
    share = _sigmoid(_margins(rows, solved))
    residual = rows.weights * (rows.won - share)
    by_row = np.hstack([rows.design[rows.pair] * residual[:, None], rows.style * residual[:, None]])
    scores = np.zeros((rows.clusters, by_row.shape[1]))
    np.add.at(scores, rows.cluster, by_row)
    bread = np.linalg.inv(_curvature(rows, rows.weights * share * (1 - share), SLIGHT))
    covariance = bread @ (scores.T @ scores) @ bread * rows.clusters / (rows.clusters - 1)
    zero = rows.names.index(baseline)
    found = {}
    for at, name in enumerate(rows.names):
        variance = covariance[at, at] + covariance[zero, zero] - 2 * covariance[at, zero]
        rate = float(_sigmoid(np.array(solved[at] - solved[zero])))
        found[name] = rate * (1 - rate) * float(np.sqrt(max(0.0, variance)))
    return found


def resample_win_rates(
    battles: Battles, baseline: str, *, how: Bootstrap = USUAL, ridge: float = SLIGHT
) -> dict[str, FloatColumn]:
    """Model -> its win rate against the baseline in every resample of whole clusters, the whole fit done again.

    Returns:
        in 0..1 [how.resamples], empty where there are fewer than two clusters; NaN where a resample holds no battle of
        the model, and so says nothing of it.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    rows = _rows_of(battles, baseline)
    count = len(rows.names)
    zero = rows.names.index(baseline)
    whole = _fitted(rows, rows.weights, ridge, np.zeros(count + rows.style.shape[1]))
    rng = np.random.default_rng(how.seed)
    drawn = np.full((how.resamples if rows.clusters > 1 else 0, count), np.nan)
    fought = np.abs(rows.design)
    for replicate in drawn:
        times = np.bincount(rng.integers(rows.clusters, size=rows.clusters), minlength=rows.clusters)
        weights = rows.weights * times[rows.cluster]
        solved = _fitted(rows, weights, ridge, whole)
        seen = fought.T @ np.add.reduceat(weights, rows.starts) > 0
        replicate[seen] = _sigmoid(solved[:count] - solved[zero])[seen]
    return {name: drawn[:, at] for at, name in enumerate(rows.names)}


def estimate_win_rates(
    battles: Battles, baseline: str, *, how: Bootstrap = USUAL, ridge: float = SLIGHT
) -> dict[str, Interval]:
    """Model -> its win rate against the baseline with the percentile interval of `resample_win_rates`.

    Returns:
        in 0..1, in the order in which the models appear; the baseline against itself is 0.5.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    fitted = fit_bradley_terry(battles, baseline, ridge=ridge)
    tallies = _tallies(_rows_of(battles, baseline))
    found = {}
    for name, draws in resample_win_rates(battles, baseline, how=how, ridge=ridge).items():
        rows, clusters = tallies[name]
        low, high = expand_percentiles(draws, clusters, how.level)
        found[name] = Interval(fitted.win_rate(name), low, high, how.level, rows=rows, clusters=clusters)
    return found


def _tallies(rows: _Rows) -> dict[str, tuple[int, int]]:
    """Model -> rows and clusters of it."""
    found = {}
    for at, name in enumerate(rows.names):
        its = (rows.design[rows.pair, at] != 0) & (rows.weights > 0)
        found[name] = (int(its.sum()), len(np.unique(rows.cluster[its])))
    return found


def _rows_of(battles: Battles, baseline: str) -> _Rows:
    won, weights, *style = check_columns(
        won=battles.won,
        weights=np.ones(len(battles.first)) if battles.weights is None else battles.weights,
        **{f"style.{name}": column for name, column in battles.style.items()},
    )
    if len(battles.first) != len(won) or len(battles.second) != len(won):
        raise DataError(
            f"{len(battles.first)} first and {len(battles.second)} second models for {len(won)} outcomes",
            remedy="give every battle both models and an outcome",
        )
    if won.min() < 0 or won.max() > 1 or weights.min() < 0 or not weights.max() > 0:
        raise DataError(
            f"outcomes lie in {won.min():g}..{won.max():g}, weights in {weights.min():g}..{weights.max():g}",
            remedy="write 1, 0.5 for a tie, and 0; weights are at least 0, and not all of them",
        )
    names = list(dict.fromkeys([*battles.first, *battles.second]))
    _check_tied(battles, weights, baseline, names)
    place = {name: at for at, name in enumerate(names)}
    one, other = (np.array([place[name] for name in column]) for column in (battles.first, battles.second))
    cluster, clusters = number_labels(battles.clusters, len(won))
    features = np.column_stack(style) if style else np.empty((len(won), 0))
    # The first of a pair is the model that appeared first, so that swapped rows are one pair.
    swapped = one > other
    one, other = np.where(swapped, other, one), np.where(swapped, one, other)
    won, features = np.where(swapped, 1 - won, won), np.where(swapped[:, None], -features, features)
    return _collected(names, one * len(names) + other, (won, weights, features), (cluster, clusters))


def _collected(
    names: list[str],
    pairs: NDArray[np.intp],
    numbers: tuple[FloatColumn, FloatColumn, FloatColumn],
    labels: tuple[NDArray[np.intp], int],
) -> _Rows:
    """Sorted by pair; rows of one pair, cluster and style are one row of their summed weight."""
    (won, weights, style), (cluster, clusters) = numbers, labels
    keys = np.column_stack([pairs, cluster, style])
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    total = np.asarray(np.bincount(inverse, weights=weights), dtype=np.float64)
    gained = np.asarray(np.bincount(inverse, weights=weights * won), dtype=np.float64)
    kinds, starts, pair = np.unique(unique[:, 0].astype(np.intp), return_index=True, return_inverse=True)
    design = np.zeros((len(kinds), len(names)))
    rows = np.arange(len(kinds))
    np.add.at(design, (rows, kinds // len(names)), 1.0)
    np.add.at(design, (rows, kinds % len(names)), -1.0)
    shares: FloatColumn = np.divide(gained, total, out=np.full(len(total), 0.5), where=total > 0)
    its_cluster = unique[:, 1].astype(np.intp)
    return _Rows(names, design, starts, pair.reshape(-1), shares, total, its_cluster, unique[:, 2:], clusters)


def _check_tied(battles: Battles, weights: FloatColumn, baseline: str, names: Sequence[str]) -> None:
    """Every model reaches the baseline over battles that count."""
    met: dict[str, set[str]] = {name: set() for name in names}
    for one, other, weight in zip(battles.first, battles.second, weights, strict=True):
        if weight > 0:
            met[one].add(other)
            met[other].add(one)
    reached, edge = {baseline}, [baseline]
    while edge:
        fresh = met.get(edge.pop(), set()) - reached
        reached |= fresh
        edge += fresh
    apart = [name for name in names if name not in reached]
    if apart or baseline not in met:
        found = f"{', '.join(apart[:3])} and {baseline} never met" if apart else f"{baseline} has no battle"
        raise DataError(
            f"{found}, not even by way of others", remedy=f"name a baseline that has battles: {', '.join(names[:5])}"
        )


def _margins(rows: _Rows, solved: FloatColumn) -> FloatColumn:
    count = len(rows.names)
    margins: FloatColumn = (rows.design @ solved[:count])[rows.pair] + rows.style @ solved[count:]
    return margins


def _curvature(rows: _Rows, variance: FloatColumn, ridge: float) -> FloatColumn:
    """Minus the second derivatives; the sum of the strengths, which no battle tells, is pinned to 0."""
    by_pair = np.add.reduceat(variance, rows.starts)
    weighted = rows.style * variance[:, None]
    crossed = rows.design.T @ np.add.reduceat(weighted, rows.starts, axis=0)
    models = rows.design.T @ (rows.design * by_pair[:, None]) + 1.0
    return np.block([[models, crossed], [crossed.T, rows.style.T @ weighted]]) + ridge * np.eye(
        len(models) + rows.style.shape[1]
    )


def _fitted(rows: _Rows, weights: FloatColumn, ridge: float, start: FloatColumn) -> FloatColumn:
    """Newton's method, halving steps that go too far: strengths summing to 0 and style coefficients [M + F]."""
    count = len(rows.names)
    solved = start.copy()
    value, total = _likelihood(rows, weights, ridge, solved), float(weights.sum())
    for _ in range(_STEPS):
        share = _sigmoid(_margins(rows, solved))
        residual = weights * (rows.won - share)
        slope = np.concatenate([rows.design.T @ np.add.reduceat(residual, rows.starts), rows.style.T @ residual])
        slope -= ridge * solved
        slope[:count] -= solved[:count].sum()
        if np.abs(slope).max() <= _FLAT * total:  # also where a model has won everything, and steps stay large
            return solved
        step = np.linalg.solve(_curvature(rows, weights * share * (1 - share), ridge), slope)
        length = 1.0
        while (ahead := _likelihood(rows, weights, ridge, solved + length * step)) < value - 1e-14 * total:
            length /= 2
        solved, value = solved + length * step, ahead
        if np.abs(step).max() <= _CLOSE * (1 + np.abs(solved).max()):
            return solved
    raise DataError(
        f"strengths did not settle in {_STEPS} steps",
        remedy="leave out style features that tell the winner by themselves",
    )


def _likelihood(rows: _Rows, weights: FloatColumn, ridge: float, solved: FloatColumn) -> float:
    margins = _margins(rows, solved)
    told = weights @ (rows.won * margins - np.logaddexp(0.0, margins))
    pinned = float(solved[: len(rows.names)].sum()) ** 2
    return float(told) - 0.5 * (ridge * float(solved @ solved) + pinned)


def _sigmoid(margins: FloatColumn) -> FloatColumn:
    shares: FloatColumn = 0.5 * (1 + np.tanh(0.5 * margins))
    return shares
