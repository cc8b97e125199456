"""Many small logistic regressions with soft labels and an L1 penalty at once, each to the optimum.

Minimises ``sum_i v_i ce(p_i, s(x_i w)) + |w|_1 / C``, liblinear's objective without intercept (Fan et al. 2008), by
proximal Newton steps (Lee, Sun and Saunders 2014): the few coefficients make the inner problem tiny, and all fits of a
bootstrap share each pass over the rows. Where liblinear stops at its tolerance, this goes on to the last digits.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefboost.errors import DataError
from prefboost.statistics.columns import FloatColumn

__all__ = ["Matrix", "SoftLabels", "cross_entropy", "fit_sparse", "compute_log_odds"]

Matrix = NDArray[np.float64]

_STEPS = 200
_ENOUGH = 1e-5  # the last step; Newton's next would be its square
_PLAIN = 25  # steps without a line search, which nearly every fit needs no more of
_NOTHING = 1e-13  # nats a row that a step still gains
_LONGEST = 3.0  # of a step's coefficient: beyond it the quadratic model says little


@dataclass(frozen=True)
class SoftLabels:
    """Rows that are fitted together.

    Args:
        columns: K features, each [N], or [B, N] where it differs between fits.
        shares: [N], in 0..1.
    """

    columns: tuple[Matrix, ...]
    shares: FloatColumn

    def of(self, fits: NDArray[np.intp]) -> SoftLabels:
        """The same for some of the fits."""
        return SoftLabels(tuple(one if one.ndim == 1 else one[fits] for one in self.columns), self.shares)


def compute_log_odds(data: SoftLabels, coefficients: Matrix) -> Matrix:
    """Log-odds of every row under every fit, [B, N]."""
    made = coefficients[:, :1] * data.columns[0]
    for number, column in enumerate(data.columns[1:], 1):
        made += coefficients[:, number : number + 1] * column
    return made


def cross_entropy(shares: Matrix, odds: Matrix) -> Matrix:
    """Nats of every row: log(1 + e^z) - p z, for any size of z."""
    lost: Matrix = np.maximum(odds, 0) + np.log1p(np.exp(-np.abs(odds))) - shares * odds
    return lost


def fit_sparse(data: SoftLabels, weights: Matrix, inverse_penalty: FloatColumn, start: Matrix | None = None) -> Matrix:
    """Fit B regressions.

    Args:
        data: rows.
        weights: [B, N], >= 0: how much each row counts in each fit; 0 leaves it out.
        inverse_penalty: [B], > 0: C of scikit-learn.
        start: [B, K] to begin from, such as the fit for a smaller C.

    Returns:
        [B, K].

    Raises:
        DataError: a fit does not settle within 200 steps (numbers that are not finite, or columns of wild scale).
    """
    found = np.zeros((len(weights), len(data.columns))) if start is None else start.copy()
    penalty = 1 / np.asarray(inverse_penalty, dtype=np.float64)
    open_ = np.arange(len(weights))
    for step in range(_STEPS):
        gradient, curvature = _derivatives(data.of(open_), weights[open_], found[open_])
        if not np.isfinite(gradient).all():
            break
        move = _proximal_step(gradient, curvature, found[open_], penalty[open_])
        size = np.abs(move).max(1)
        if step < _PLAIN:
            shrink = np.minimum(1.0, _LONGEST / np.maximum(size, 1e-300))
            settled = size < _ENOUGH * np.maximum(1.0, np.abs(found[open_]).max(1))
        else:  # odds may be flat along a line, where only the penalty says how far to go
            gain = _modelled(gradient, curvature, found[open_], penalty[open_], move) - penalty[open_] * np.abs(
                found[open_]
            ).sum(1)
            shrink = _searched(data.of(open_), weights[open_], found[open_], penalty[open_], move)
            settled = (gain > -_NOTHING * np.maximum(1.0, weights[open_].sum(1))) | (shrink == 0)
        found[open_] += shrink[:, None] * move
        open_ = open_[~settled]
        if not open_.size:
            return found
    raise DataError(
        f"{open_.size} of {len(weights)} regressions do not settle in {_STEPS} steps",
        remedy="look for numbers that are not finite or lengths of wild scale",
    )


def _searched(data: SoftLabels, weights: Matrix, at: Matrix, penalty: FloatColumn, move: Matrix) -> FloatColumn:
    """The part of each move, 1 or a power of one half, that lowers the objective; 0 where none does."""

    def objective(where: Matrix) -> FloatColumn:
        lost = (weights * cross_entropy(data.shares, compute_log_odds(data, where))).sum(1)
        whole: FloatColumn = lost + penalty * np.abs(where).sum(1)
        return whole

    before, part = objective(at), np.ones(len(at))
    for _ in range(40):
        worse = ~(objective(at + part[:, None] * move) <= before)
        if not worse.any():
            return part
        part = np.where(worse, part / 2, part)
    none: FloatColumn = np.where(worse, 0.0, part)
    return none


def _derivatives(data: SoftLabels, weights: Matrix, coefficients: Matrix) -> tuple[Matrix, Matrix]:
    """Gradient [B, K] and Hessian [B, K, K] of the weighted loss."""
    odds = compute_log_odds(data, coefficients)
    np.negative(odds, out=odds)
    np.clip(odds, -700, 700, out=odds)
    np.exp(odds, out=odds)
    odds += 1
    chance = np.reciprocal(odds, out=odds)
    bend = weights * chance
    slope = bend - weights * data.shares
    bend -= bend * chance
    count = len(data.columns)
    gradient, curvature = np.empty((len(weights), count)), np.empty((len(weights), count, count))
    for one, column in enumerate(data.columns):
        gradient[:, one] = _summed(slope, column)
        bent = bend * column
        for other in range(one, count):
            curvature[:, one, other] = curvature[:, other, one] = _summed(bent, data.columns[other])
    return gradient, curvature


def _summed(rows: Matrix, column: Matrix) -> FloatColumn:
    made: FloatColumn = rows @ column if column.ndim == 1 else np.einsum("bn,bn->b", rows, column)
    return made


def _proximal_step(gradient: Matrix, curvature: Matrix, at: Matrix, penalty: FloatColumn) -> Matrix:
    """The move that minimises the quadratic model plus the penalty, by cyclic coordinate descent."""
    move = np.zeros_like(at)
    own = np.maximum(np.einsum("bkk->bk", curvature), 1e-10)
    columns: Sequence[int] = range(at.shape[1])
    for _ in range(60):
        change = 0.0
        for one in columns:
            here = at[:, one] + move[:, one]
            pull = gradient[:, one] + np.einsum("bk,bk->b", curvature[:, one], move)
            aim = here - pull / own[:, one]
            target = np.sign(aim) * np.maximum(np.abs(aim) - penalty / own[:, one], 0)
            change = max(change, float(np.abs(target - here).max()))
            move[:, one] += target - here
        if change < 1e-11:
            return move
    return _polished(gradient, curvature, at, penalty, move)


def _polished(gradient: Matrix, curvature: Matrix, at: Matrix, penalty: FloatColumn, move: Matrix) -> Matrix:
    """The exact minimum, which has some pattern of signs: the best of all of them (columns may nearly agree)."""
    best, least = move, _modelled(gradient, curvature, at, penalty, move)
    for pattern in itertools.product((-1.0, 0.0, 1.0), repeat=at.shape[1]):
        signs = np.array(pattern)
        free = np.flatnonzero(signs)
        tried = -at
        if free.size:
            pull = (
                gradient + penalty[:, None] * signs + np.einsum("bkl,bl->bk", curvature, np.where(signs == 0, -at, 0))
            )
            ridge = 1e-12 * np.einsum("bkk->b", curvature)[:, None, None] * np.eye(free.size) + 1e-300
            system = curvature[:, free[:, None], free] + ridge
            tried[:, free] = -(np.linalg.pinv(system, hermitian=True) @ pull[:, free, None])[:, :, 0]
        value = _modelled(gradient, curvature, at, penalty, tried)
        better = value < least
        best, least = np.where(better[:, None], tried, best), np.where(better, value, least)
    return best


def _modelled(gradient: Matrix, curvature: Matrix, at: Matrix, penalty: FloatColumn, move: Matrix) -> FloatColumn:
    """The quadratic model plus the penalty."""
    bent = np.einsum("bk,bkl,bl->b", move, curvature, move)
    value: FloatColumn = np.einsum("bk,bk->b", gradient, move) + bent / 2 + penalty * np.abs(at + move).sum(1)
    return value
