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
_ENOUGH = 1e-5  # largest move of the last step, relative to the coefficients; Newton's next would be its square
_PLAIN = 25  # steps without a line search; nearly every fit needs fewer
_NO_GAIN = 1e-13  # nats per row that a step still gains
_LONGEST = 3.0  # move of a coefficient per step: beyond it the quadratic model says little


@dataclass(frozen=True)
class SoftLabels:
    """N rows that are fitted together.

    Args:
        columns: K features, each [N], or [B, N] where it differs between fits.
        shares: [N], in 0..1.
    """

    columns: tuple[Matrix, ...]
    shares: FloatColumn

    def select_fits(self, fits: NDArray[np.intp]) -> SoftLabels:
        """Return the rows of some of the fits (indices, repeats allowed)."""
        return SoftLabels(tuple(column if column.ndim == 1 else column[fits] for column in self.columns), self.shares)


def compute_log_odds(data: SoftLabels, coefficients: Matrix) -> Matrix:
    """Compute the log-odds x_i w of every row under every fit, [B, N]."""
    odds = coefficients[:, :1] * data.columns[0]
    for number, column in enumerate(data.columns[1:], 1):
        odds += coefficients[:, number : number + 1] * column
    return odds


def cross_entropy(shares: Matrix, odds: Matrix) -> Matrix:
    """Compute the loss of every row in nats: log(1 + e^z) - p z, for any size of the log-odds z."""
    # log(1 + e^z) = max(z, 0) + log(1 + e^-|z|), whose exponential never overflows.
    loss: Matrix = np.maximum(odds, 0) + np.log1p(np.exp(-np.abs(odds))) - shares * odds
    return loss


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
    coefficients = np.zeros((len(weights), len(data.columns))) if start is None else start.copy()
    penalty = 1 / np.asarray(inverse_penalty, dtype=np.float64)
    # Fits that have settled drop out, so that the last slow ones do not cost a pass over all rows of all fits.
    active = np.arange(len(weights))
    for step in range(_STEPS):
        gradient, curvature = _derive(data.select_fits(active), weights[active], coefficients[active])
        # NaN would never settle and never fail a comparison: stop here and say so.
        if not np.isfinite(gradient).all():
            break
        move = _find_proximal_step(gradient, curvature, coefficients[active], penalty[active])
        size = np.abs(move).max(1)
        if step < _PLAIN:
            # Far from the optimum the curvature may be nearly 0 and a step huge; near it the step is taken whole.
            shrink = np.minimum(1.0, _LONGEST / np.maximum(size, 1e-300))
            settled = size < _ENOUGH * np.maximum(1.0, np.abs(coefficients[active]).max(1))
        else:
            # Odds may be flat along a line, where only the penalty says how far to go: plain steps would go to and fro.
            gain = _model_objective(gradient, curvature, coefficients[active], penalty[active], move) - penalty[
                active
            ] * np.abs(coefficients[active]).sum(1)
            shrink = _search_line(
                data.select_fits(active), weights[active], coefficients[active], penalty[active], move
            )
            settled = (gain > -_NO_GAIN * np.maximum(1.0, weights[active].sum(1))) | (shrink == 0)
        coefficients[active] += shrink[:, None] * move
        active = active[~settled]
        if not active.size:
            return coefficients
    raise DataError(
        f"{active.size} of {len(weights)} regressions do not converge in {_STEPS} steps",
        remedy="check for numbers that are not finite and for lengths of very different scale",
    )


def _search_line(data: SoftLabels, weights: Matrix, at: Matrix, penalty: FloatColumn, move: Matrix) -> FloatColumn:
    """Find the part of each move, 1 or a power of one half, that does not raise the objective; 0 where none does."""

    def compute_objective(coefficients: Matrix) -> FloatColumn:
        loss = (weights * cross_entropy(data.shares, compute_log_odds(data, coefficients))).sum(1)
        objective: FloatColumn = loss + penalty * np.abs(coefficients).sum(1)
        return objective

    before, part = compute_objective(at), np.ones(len(at))
    for _ in range(40):
        is_worse = ~(compute_objective(at + part[:, None] * move) <= before)  # NaN counts as worse
        if not is_worse.any():
            return part
        part = np.where(is_worse, part / 2, part)
    improving: FloatColumn = np.where(is_worse, 0.0, part)
    return improving


def _derive(data: SoftLabels, weights: Matrix, coefficients: Matrix) -> tuple[Matrix, Matrix]:
    """Compute gradient [B, K] and Hessian [B, K, K] of the weighted loss.

    With q_i = s(x_i w): gradient sum_i v_i (q_i - p_i) x_i, Hessian sum_i v_i q_i (1 - q_i) x_i x_i'.
    """
    # q = 1 / (1 + e^-z), in place: [B, N] arrays of a bootstrap fill the cache, and fresh ones would fall out of it.
    odds = compute_log_odds(data, coefficients)
    np.negative(odds, out=odds)
    np.clip(odds, -700, 700, out=odds)  # e^710 overflows
    np.exp(odds, out=odds)
    odds += 1
    chance = np.reciprocal(odds, out=odds)
    curve = weights * chance
    slope = curve - weights * data.shares  # v (q - p)
    curve -= curve * chance  # v q (1 - q)
    count = len(data.columns)
    gradient, curvature = np.empty((len(weights), count)), np.empty((len(weights), count, count))
    for first, column in enumerate(data.columns):
        gradient[:, first] = _sum_rows(slope, column)
        curved = curve * column
        for second in range(first, count):
            curvature[:, first, second] = curvature[:, second, first] = _sum_rows(curved, data.columns[second])
    return gradient, curvature


def _sum_rows(rows: Matrix, column: Matrix) -> FloatColumn:
    """Compute sum_n rows[b, n] column[n] (or column[b, n]), [B]."""
    sums: FloatColumn = rows @ column if column.ndim == 1 else np.einsum("bn,bn->b", rows, column)
    return sums


def _find_proximal_step(gradient: Matrix, curvature: Matrix, at: Matrix, penalty: FloatColumn) -> Matrix:
    """Find the move that minimises the quadratic model plus the penalty.

    By cyclic coordinate descent, which is slow where columns nearly agree; then by signs. Once the signs of the
    coefficients are fixed, the penalty is linear and the minimum a system of K equations: the best of all 3^K patterns
    is exact.
    """
    move = np.zeros_like(at)
    # A column of zeros has no curvature; the floor makes its aim finite, and the penalty puts it to 0.
    diagonal = np.maximum(np.einsum("bkk->bk", curvature), 1e-10)
    columns: Sequence[int] = range(at.shape[1])
    for _ in range(60):
        change = 0.0
        for column in columns:
            # Along one coordinate the model is a parabola plus |w| / C, whose minimum is the soft threshold of its aim.
            here = at[:, column] + move[:, column]
            pull = gradient[:, column] + np.einsum("bk,bk->b", curvature[:, column], move)
            aim = here - pull / diagonal[:, column]
            target = np.sign(aim) * np.maximum(np.abs(aim) - penalty / diagonal[:, column], 0)
            change = max(change, float(np.abs(target - here).max()))
            move[:, column] += target - here
        if change < 1e-11:
            return move
    best, least = move, _model_objective(gradient, curvature, at, penalty, move)
    for pattern in itertools.product((-1.0, 0.0, 1.0), repeat=at.shape[1]):
        signs = np.array(pattern)
        free = np.flatnonzero(signs)
        tried = -at  # coefficients of sign 0 go to 0
        if free.size:
            fixed = np.einsum("bkl,bl->bk", curvature, np.where(signs == 0, -at, 0))
            pull = gradient + penalty[:, None] * signs + fixed
            # Columns that agree make the system singular: pinv takes the shortest solution, the ridge keeps it stable.
            ridge = 1e-12 * np.einsum("bkk->b", curvature)[:, None, None] * np.eye(free.size) + 1e-300
            system = curvature[:, free[:, None], free] + ridge
            tried[:, free] = -(np.linalg.pinv(system, hermitian=True) @ pull[:, free, None])[:, :, 0]
        value = _model_objective(gradient, curvature, at, penalty, tried)
        is_better = value < least
        best, least = np.where(is_better[:, None], tried, best), np.where(is_better, value, least)
    return best


def _model_objective(
    gradient: Matrix, curvature: Matrix, at: Matrix, penalty: FloatColumn, move: Matrix
) -> FloatColumn:
    """Compute the quadratic model of a move plus the penalty, [B]: g m + m' H m / 2 + |w + m|_1 / C."""
    bent = np.einsum("bk,bkl,bl->b", move, curvature, move)
    value: FloatColumn = np.einsum("bk,bk->b", gradient, move) + bent / 2 + penalty * np.abs(at + move).sum(1)
    return value
