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

# Newton's method ends after a step of at most _CLOSE times the parameters, or at a gradient of at most _FLAT times the
# weights. Both are near the rounding of float64, so that a fit does not depend on where it began.
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
        strengths: model -> log-odds against the baseline at equal style; 0 for the baseline.
        style: feature -> log-odds per unit.
        baseline: the model that win rates are against.
    """

    strengths: Mapping[str, float]
    style: Mapping[str, float]
    baseline: str

    def win_rate(self, model: str, against: str | None = None) -> float:
        """Compute the probability, 0..1, that a model beats another (default: the baseline) at equal style."""
        other = self.strengths[self.baseline if against is None else against]
        return float(_sigmoid(np.array(self.strengths[model] - other)))


@dataclass(frozen=True)
class _Rows:
    """Battles sorted by pair of models, in which equal ones of a cluster are merged.

    Sorting makes sums over the rows of a pair one ``reduceat``, so that a pass costs N and not N times M.

    Args:
        names: M models.
        design: [K, M], +1 and -1 of every pair of models.
        starts: [K], where the rows of each pair begin.
        pair: [N], of every row, 0..K-1.
        won: [N], share of the win of the pair's first model.
        weights: [N].
        cluster: [N], 0..clusters-1.
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
    """Fit the strengths of maximum likelihood, by Newton's method to convergence.

    Args:
        battles: comparisons; models that no chain of battles connects to the baseline cannot be rated.
        baseline: the model whose strength is 0.
        ridge: penalty ridge/2 (|s|^2 + |beta|^2), strengths summing to 0; the default is as good as none.

    Raises:
        DataError: columns of different lengths, numbers out of range, or a model that no battles connect to the
            baseline.
    """
    rows = _sort_rows(battles, baseline)
    parameters = _fit(rows, rows.weights, ridge, np.zeros(len(rows.names) + rows.style.shape[1]))
    count = len(rows.names)
    zero = parameters[rows.names.index(baseline)]
    return BradleyTerryFit(
        {name: float(parameters[at] - zero) for at, name in enumerate(rows.names)},
        dict(zip(battles.style, map(float, parameters[count:]), strict=True)),
        baseline,
    )


def estimate_win_rate_errors(battles: Battles, baseline: str) -> dict[str, float]:
    """Estimate standard errors of win rates against the baseline, clusters independent (Liang and Zeger 1986).

    Returns:
        model -> error in 0..1; 0 for the baseline; NaN where there are fewer than two clusters.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    rows = _sort_rows(battles, baseline)
    count = len(rows.names)
    if rows.clusters < 2:
        return dict.fromkeys(rows.names, float("nan"))
    parameters = _fit(rows, rows.weights, SLIGHT, np.zeros(count + rows.style.shape[1]))
    share = _sigmoid(_compute_margins(rows, parameters))
    # The sandwich: B M B K / (K - 1), with B the inverse of the curvature and M the sum over the K clusters of the
    # outer products of their gradients. Rows of a cluster may depend on each other in any way.
    residual = rows.weights * (rows.won - share)
    by_row = np.hstack([rows.design[rows.pair] * residual[:, None], rows.style * residual[:, None]])
    scores = np.zeros((rows.clusters, by_row.shape[1]))
    np.add.at(scores, rows.cluster, by_row)
    bread = np.linalg.inv(_compute_curvature(rows, rows.weights * share * (1 - share), SLIGHT))
    covariance = bread @ (scores.T @ scores) @ bread * rows.clusters / (rows.clusters - 1)
    zero = rows.names.index(baseline)
    errors = {}
    for at, name in enumerate(rows.names):
        # The delta method: a win rate w is a sigmoid of the difference of two strengths, whose slope is w (1 - w).
        variance = covariance[at, at] + covariance[zero, zero] - 2 * covariance[at, zero]
        rate = float(_sigmoid(np.array(parameters[at] - parameters[zero])))
        errors[name] = rate * (1 - rate) * float(np.sqrt(max(0.0, variance)))
    return errors


def resample_win_rates(
    battles: Battles, baseline: str, *, how: Bootstrap = USUAL, ridge: float = SLIGHT
) -> dict[str, FloatColumn]:
    """Fit again on resamples of whole clusters.

    Returns:
        model -> its win rate against the baseline in every resample, 0..1 [how.resamples]; empty where there are fewer
        than two clusters; NaN where a resample holds no battle of the model, and so says nothing of it.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    rows = _sort_rows(battles, baseline)
    count = len(rows.names)
    zero = rows.names.index(baseline)
    whole = _fit(rows, rows.weights, ridge, np.zeros(count + rows.style.shape[1]))
    rng = np.random.default_rng(how.seed)
    replicates = np.full((how.resamples if rows.clusters > 1 else 0, count), np.nan)
    takes_part = np.abs(rows.design)
    for replicate in replicates:
        # A cluster that is drawn twice counts twice: only weights change, so that rows are sorted once for all.
        times = np.bincount(rng.integers(rows.clusters, size=rows.clusters), minlength=rows.clusters)
        weights = rows.weights * times[rows.cluster]
        parameters = _fit(rows, weights, ridge, whole)
        is_drawn = takes_part.T @ np.add.reduceat(weights, rows.starts) > 0
        replicate[is_drawn] = _sigmoid(parameters[:count] - parameters[zero])[is_drawn]
    return {name: replicates[:, at] for at, name in enumerate(rows.names)}


def estimate_win_rates(
    battles: Battles, baseline: str, *, how: Bootstrap = USUAL, ridge: float = SLIGHT
) -> dict[str, Interval]:
    """Estimate win rates against the baseline with the percentile intervals of `resample_win_rates`.

    Returns:
        model -> win rate in 0..1, in the order in which the models appear; the baseline against itself is 0.5.

    Raises:
        DataError: see `fit_bradley_terry`.
    """
    fitted = fit_bradley_terry(battles, baseline, ridge=ridge)
    rows = _sort_rows(battles, baseline)
    draws = resample_win_rates(battles, baseline, how=how, ridge=ridge)
    intervals = {}
    for at, name in enumerate(rows.names):
        # The interval of a model rests on the clusters in which it fought, not on all.
        fought = (rows.design[rows.pair, at] != 0) & (rows.weights > 0)
        count, clusters = int(fought.sum()), len(np.unique(rows.cluster[fought]))
        low, high = expand_percentiles(draws[name], clusters, how.level)
        intervals[name] = Interval(fitted.win_rate(name), low, high, how.level, rows=count, clusters=clusters)
    return intervals


def _sort_rows(battles: Battles, baseline: str) -> _Rows:
    """Check battles, and turn them into the rows that are fitted."""
    # One check for all columns, so that a fault names the column, and a feature by its name.
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
    # In order of appearance, so that renaming models changes no figure.
    names = list(dict.fromkeys([*battles.first, *battles.second]))
    _check_connected(battles, weights, baseline, names)
    number = {name: at for at, name in enumerate(names)}
    first, second = (np.array([number[name] for name in column]) for column in (battles.first, battles.second))
    cluster, clusters = number_labels(battles.clusters, len(won))
    features = np.column_stack(style) if style else np.empty((len(won), 0))
    # The first of a pair is the model that appeared first, so that swapped rows are one pair.
    is_swapped = first > second
    first, second = np.where(is_swapped, second, first), np.where(is_swapped, first, second)
    won, features = np.where(is_swapped, 1 - won, won), np.where(is_swapped[:, None], -features, features)
    # Rows of one pair, cluster and style become one row of their summed weight: the likelihood is linear in the share.
    # The pair is the first key, so that np.unique sorts by it.
    keys = np.column_stack([first * len(names) + second, cluster, features])
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    total = np.asarray(np.bincount(inverse, weights=weights), dtype=np.float64)
    wins = np.asarray(np.bincount(inverse, weights=weights * won), dtype=np.float64)
    shares: FloatColumn = np.divide(wins, total, out=np.full(len(total), 0.5), where=total > 0)
    pairs, starts, pair = np.unique(unique[:, 0].astype(np.intp), return_index=True, return_inverse=True)
    design = np.zeros((len(pairs), len(names)))
    # Adding instead of writing leaves a row of zeros where a model fights itself, which says nothing of strengths.
    np.add.at(design, (np.arange(len(pairs)), pairs // len(names)), 1.0)
    np.add.at(design, (np.arange(len(pairs)), pairs % len(names)), -1.0)
    cluster_of_row = unique[:, 1].astype(np.intp)
    return _Rows(names, design, starts, pair.reshape(-1), shares, total, cluster_of_row, unique[:, 2:], clusters)


def _check_connected(battles: Battles, weights: FloatColumn, baseline: str, names: Sequence[str]) -> None:
    """Raise where a model does not reach the baseline over battles that count: its strength could be anything."""
    opponents: dict[str, set[str]] = {name: set() for name in names}
    for first, second, weight in zip(battles.first, battles.second, weights, strict=True):
        if weight > 0:
            opponents[first].add(second)
            opponents[second].add(first)
    reached, edge = {baseline}, [baseline]
    while edge:
        fresh = opponents.get(edge.pop(), set()) - reached
        reached |= fresh
        edge += fresh
    unreached = [name for name in names if name not in reached]
    if unreached or baseline not in opponents:
        fault = f"{', '.join(unreached[:3])} and {baseline} never met" if unreached else f"{baseline} has no battle"
        raise DataError(
            f"{fault}, not even by way of others", remedy=f"name a baseline that has battles: {', '.join(names[:5])}"
        )


def _compute_margins(rows: _Rows, parameters: FloatColumn) -> FloatColumn:
    """Compute the log-odds of every row, s_a - s_b + x beta, [N]."""
    count = len(rows.names)
    margins: FloatColumn = (rows.design @ parameters[:count])[rows.pair] + rows.style @ parameters[count:]
    return margins


def _compute_curvature(rows: _Rows, variance: FloatColumn, ridge: float) -> FloatColumn:
    """Compute minus the second derivatives of the penalised log-likelihood, [M + F, M + F].

    Args:
        rows: sorted.
        variance: [N], weight times share times (1 - share) of every row.
        ridge: added to the diagonal.
    """
    # Style enters row by row; models enter pair by pair, since all rows of a pair have the same design.
    by_pair = np.add.reduceat(variance, rows.starts)
    weighted = rows.style * variance[:, None]
    crossed = rows.design.T @ np.add.reduceat(weighted, rows.starts, axis=0)
    # Battles determine differences of strengths only. Adding 1 to every entry is the curvature of (sum s)^2 / 2, which
    # `_compute_likelihood` subtracts: it pins the sum to 0 and makes the matrix regular.
    models = rows.design.T @ (rows.design * by_pair[:, None]) + 1.0
    return np.block([[models, crossed], [crossed.T, rows.style.T @ weighted]]) + ridge * np.eye(
        len(models) + rows.style.shape[1]
    )


def _fit(rows: _Rows, weights: FloatColumn, ridge: float, start: FloatColumn) -> FloatColumn:
    """Fit strengths summing to 0 and style coefficients [M + F] by Newton's method, halving steps that go too far."""
    count = len(rows.names)
    # In a bootstrap every fit begins at the fit to all data, which is near; the optimum is the same from anywhere.
    parameters = start.copy()
    value, total = _compute_likelihood(rows, weights, ridge, parameters), float(weights.sum())
    for _ in range(_STEPS):
        share = _sigmoid(_compute_margins(rows, parameters))
        residual = weights * (rows.won - share)
        gradient = np.concatenate([rows.design.T @ np.add.reduceat(residual, rows.starts), rows.style.T @ residual])
        gradient -= ridge * parameters
        gradient[:count] -= parameters[:count].sum()
        if np.abs(gradient).max() <= _FLAT * total:  # also where a model has won everything, and steps stay large
            return parameters
        step = np.linalg.solve(_compute_curvature(rows, weights * share * (1 - share), ridge), gradient)
        # The likelihood is concave, so that some part of the step raises it; 1e-14 forgives rounding.
        length = 1.0
        while (ahead := _compute_likelihood(rows, weights, ridge, parameters + length * step)) < value - 1e-14 * total:
            length /= 2
        parameters, value = parameters + length * step, ahead
        if np.abs(step).max() <= _CLOSE * (1 + np.abs(parameters).max()):
            return parameters
    raise DataError(
        f"strengths did not converge in {_STEPS} steps",
        remedy="leave out style features that alone predict the winner",
    )


def _compute_likelihood(rows: _Rows, weights: FloatColumn, ridge: float, parameters: FloatColumn) -> float:
    """Compute sum_i w_i (p_i m_i - log(1 + e^m_i)) - (ridge |parameters|^2 + (sum s)^2) / 2, nats."""
    margins = _compute_margins(rows, parameters)
    likelihood = weights @ (rows.won * margins - np.logaddexp(0.0, margins))
    square_of_sum = float(parameters[: len(rows.names)].sum()) ** 2
    return float(likelihood) - 0.5 * (ridge * float(parameters @ parameters) + square_of_sum)


def _sigmoid(margins: FloatColumn) -> FloatColumn:
    # The same as 1 / (1 + e^-m), without an exponential that overflows.
    shares: FloatColumn = 0.5 * (1 + np.tanh(0.5 * margins))
    return shares
