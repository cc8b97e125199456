"""The length-controlled win rate of AlpacaEval 2 (arXiv 2404.04475), with a bootstrap of the whole procedure.

Judges like long completions. To take that away, the share p_i of the win that the model gets on prompt i is explained
by a logistic regression (section 3 of the paper):

    logit p_i = phi * tanh(d_i / sd(d)) + psi * gamma_i + theta

with d_i the difference in length, gamma_i the difficulty of the prompt (fitted once by upstream, over all models) and
theta the model. At equal length the first term is 0, so that the length-controlled win rate is the mean over prompts of
sigmoid(psi * gamma_i + theta). An L1 penalty, whose strength C five-fold cross-validation chooses, keeps the three
coefficients small; rows of baselines that were made long or short on purpose hold phi in place.

Upstream: `alpaca_eval/metrics/glm_winrate.py` at cd543a1, ``length_controlled_v1``. The text below follows the
procedure: rows, features, fit, choice of C, prediction; then all of it again on resampled prompts. A bootstrap is B
fits to the same rows with other weights, so that arrays are [B, N] throughout, and a single fit is B = 1.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, expand_percentiles
from prefboost.statistics.columns import FloatColumn, check_columns, check_range, number_labels
from prefboost.statistics.interval import Interval
from prefboost.statistics.sparse_logistic import Matrix, SoftLabels, compute_log_odds, cross_entropy, fit_sparse

__all__ = [
    "GRID",
    "GamedRows",
    "LengthControl",
    "LengthRows",
    "assign_folds",
    "build_design",
    "estimate_length_control",
    "fit_length_control",
    "predict_share",
    "resample_length_control",
]

GRID: FloatColumn = np.logspace(-4, 4, 10)
"""Values of C that cross-validation compares (scikit-learn's default ten)."""

_FOLDS = 5
_BLOCK = 8000  # rows, and 8 to 16 resamples, that are fitted together: they stay in the cache


@dataclass(frozen=True)
class GamedRows:
    """G rows of a baseline that was made long or short, which hold the coefficient of length in place.

    Args:
        shares: [G], the share of the win of the gamed baseline, 0..1.
        lengths: [G], difference in length divided by its deviation.
        difficulty: [G].
        weight: of each row; 0.2 over two baselines upstream.
    """

    shares: FloatColumn
    lengths: FloatColumn
    difficulty: FloatColumn
    weight: float = 0.1


@dataclass(frozen=True)
class LengthRows:
    """N judged rows of one model.

    Args:
        shares: [N], share of the win, 0..1.
        length_deltas: [N], length of the baseline's completion less that of the model's.
        difficulty: [N]; None where prompts have none, which leaves the minimal form: length and model.
        gamed: see `GamedRows`; only with difficulty.
        prompts: [N] labels: rows of one prompt share a fold and are drawn together; None: each row is a prompt.
    """

    shares: ArrayLike
    length_deltas: ArrayLike
    difficulty: ArrayLike | None = None
    gamed: GamedRows | None = None
    prompts: ArrayLike | None = None


@dataclass(frozen=True)
class LengthControl:
    """A fitted length-controlled win rate.

    Args:
        share: 0..1 at equal length.
        upstream_error: upstream's standard error, of the predictions alone: too small, since it takes the fit as exact.
        coefficients: of length (phi), difficulty (psi; absent in the minimal form) and model (theta).
        inverse_penalty: C that cross-validation chose.
        minimal: whether the form without difficulty and gamed rows was fitted.
    """

    share: float
    upstream_error: float
    coefficients: dict[str, float]
    inverse_penalty: float
    minimal: bool


def fit_length_control(rows: LengthRows, inverse_penalty: float | None = None) -> LengthControl:
    """Fit the regression and predict the share of the win at equal length.

    Args:
        rows: of one model.
        inverse_penalty: C; None lets cross-validation choose.

    Raises:
        DataError: columns differ in length or hold NaN, shares lie outside of 0..1, or gamed rows have no difficulty.
    """
    merged = _merge_rows(rows)
    counts = np.ones((1, merged.prompts))
    penalty = None if inverse_penalty is None else np.array([inverse_penalty])
    coefficients, penalty = _fit(merged, counts, penalty)
    predictions = predict_share(coefficients[0], merged.difficulty, len(merged.shares))
    by_row = predictions.repeat(merged.times.astype(int))  # upstream averages over rows, not over merged ones
    names = ["length", *([] if merged.difficulty is None else ["difficulty"]), "model"]
    count = len(by_row)
    return LengthControl(
        float(by_row.mean()),
        float(by_row.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        dict(zip(names, coefficients[0].tolist(), strict=True)),
        float(penalty[0]),
        merged.difficulty is None,
    )


def predict_share(coefficients: ArrayLike, difficulty: FloatColumn | None, rows: int) -> FloatColumn:
    """Predict the share of every win at equal length: sigmoid(psi * gamma + theta), [N].

    Args:
        coefficients: phi, psi (where there is a difficulty) and theta.
        difficulty: [N], or None.
        rows: N.
    """
    phi_psi_theta = np.asarray(coefficients, dtype=np.float64)
    theta = phi_psi_theta[-1]
    log_odds = np.full(rows, theta) if difficulty is None else phi_psi_theta[1] * difficulty + theta
    share: FloatColumn = 1 / (1 + np.exp(-log_odds))
    return share


def resample_length_control(rows: LengthRows, how: Bootstrap = USUAL, threads: int = 1) -> FloatColumn:
    """Repeat the whole procedure on resampled prompts: scaling of lengths, choice of C, fit, prediction.

    Args:
        rows: of one model; the gamed rows are part of the procedure and are not drawn.
        how: resamples, level, seed. The draws are the same for any number of threads.
        threads: that fit at a time.

    Returns:
        shares [resamples].
    """
    merged = _merge_rows(rows)
    starts = _fit_path(merged)
    rng = np.random.default_rng(how.seed)
    # How often each prompt stands in each resample: [B, prompts], with rows that add up to the number of prompts.
    drawn = rng.multinomial(merged.prompts, np.full(merged.prompts, 1 / merged.prompts), size=how.resamples)
    # Blocks are fitted together; the draws are made before, so that neither blocks nor threads change a result.
    size = min(16, max(8, _BLOCK // (merged.gamed_count + len(merged.shares))))
    blocks = [drawn[at : at + size].astype(np.float64) for at in range(0, how.resamples, size)]

    def predict_block(counts: Matrix) -> FloatColumn:
        # C is chosen again in every resample, since its choice is part of the procedure and of its uncertainty.
        coefficients, _ = _fit(merged, counts, None, starts)
        difficulty = 0 if merged.difficulty is None else coefficients[:, 1:2] * merged.difficulty
        times = counts[:, merged.prompt] * merged.times
        shares: FloatColumn = (times / (1 + np.exp(-(coefficients[:, -1:] + difficulty)))).sum(1) / times.sum(1)
        return shares

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(predict_block, blocks)))


def estimate_length_control(rows: LengthRows, how: Bootstrap = USUAL, threads: int = 1) -> tuple[Interval, float]:
    """Estimate the length-controlled share with its percentile interval and its standard error, both by bootstrap.

    Args:
        rows: of one model.
        how: resamples, level, seed.
        threads: that fit at a time.

    Returns:
        the interval and the error; with fewer prompts than folds the interval has no ends and the error is NaN.
    """
    merged, fitted = _merge_rows(rows), fit_length_control(rows)
    unknown = Interval.without_ends(fitted.share, level=how.level, rows=merged.count, clusters=merged.prompts)
    # A fold without a row has no loss, and C could not be chosen.
    if merged.prompts < _FOLDS:
        return unknown, np.nan
    draws = resample_length_control(rows, how, threads)
    low, high = expand_percentiles(draws, merged.prompts, how.level)
    return replace(unknown, low=low, high=high), float(draws.std(ddof=1))


def build_design(rows: LengthRows) -> tuple[Matrix, FloatColumn, FloatColumn]:
    """Build features [N, K], shares [N] and weights [N] as they are fitted, gamed rows first, for another solver.

    Rows of one prompt with the same features are one row.
    """
    merged = _merge_rows(rows)
    data, weights, _ = _build_features(merged, np.ones((1, merged.prompts)))
    return np.column_stack([np.atleast_2d(column)[0] for column in data.columns]), data.shares, weights[0]


def assign_folds(groups: int) -> NDArray[np.intp]:
    """Assign each of G equally large groups to a fold 0..4 [G], as scikit-learn's GroupKFold(5) does."""
    # GroupKFold gives the largest group to the emptiest fold; with equal sizes that is round robin from the last group,
    # in the order of NumPy's (unstable) sort, which is repeated here to the letter.
    order = np.argsort(np.full(groups, 2))[::-1]
    folds = np.empty(groups, dtype=np.intp)
    folds[order] = np.arange(groups) % _FOLDS
    return folds


@dataclass(frozen=True)
class _MergedRows:
    """Rows as arrays, in which rows of a prompt that have the same features (both orders) are merged into one.

    The loss is linear in the share, so that the fit to the mean share with weight ``times`` is the same, in half the
    time.

    Args:
        shares: [N], mean share of the win.
        length_deltas: [N].
        difficulty: [N] or None.
        gamed: rows that stand before these in the fit, or None.
        prompt: [N], number of the prompt, 0..prompts-1.
        prompts: how many there are.
        fold: [G + N], the fold of each gamed row and of each row.
        times: [N], rows that each stands for.
    """

    shares: FloatColumn
    length_deltas: FloatColumn
    difficulty: FloatColumn | None
    gamed: GamedRows | None
    prompt: NDArray[np.intp]
    prompts: int
    fold: NDArray[np.intp]
    times: FloatColumn

    @property
    def count(self) -> int:
        """Count the rows before they were merged."""
        return int(self.times.sum())

    @property
    def gamed_count(self) -> int:
        """Count the gamed rows, G."""
        return 0 if self.gamed is None else len(self.gamed.shares)


def _merge_rows(rows: LengthRows) -> _MergedRows:
    shares, deltas = check_columns(shares=rows.shares, length_deltas=rows.length_deltas)
    check_range(shares, 0, 1, noun="shares of a win", remedy="subtract 1 from preferences")
    difficulty = None if rows.difficulty is None else check_columns(shares=shares, difficulty=rows.difficulty)[1]
    if rows.gamed is not None and difficulty is None:
        raise DataError(
            "gamed rows need the prompts' difficulty",
            remedy="leave them out: prompts without difficulty have the minimal form",
        )
    prompt, prompts = number_labels(rows.prompts, len(shares))
    # Both orders of a prompt have the same lengths and difficulty, and differ in the share alone.
    keys = np.column_stack([prompt, deltas, *([] if difficulty is None else [difficulty])])
    _, first, place, times = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    means = np.bincount(place.reshape(-1), weights=shares) / times
    # np.unique sorts; the rows go back into the order in which the first of each stood.
    order = np.argsort(first)
    at = first[order]
    # Upstream deals folds over gamed rows and prompts together, gamed rows first.
    gamed_count = 0 if rows.gamed is None else len(rows.gamed.shares)
    folds = assign_folds(gamed_count + prompts)
    return _MergedRows(
        shares=means[order],
        length_deltas=deltas[at],
        difficulty=None if difficulty is None else difficulty[at],
        gamed=rows.gamed,
        prompt=prompt[at],
        prompts=prompts,
        fold=np.concatenate([folds[:gamed_count], folds[gamed_count:][prompt[at]]]),
        times=times[order].astype(np.float64),
    )


def _build_features(rows: _MergedRows, counts: Matrix) -> tuple[SoftLabels, Matrix, Matrix]:
    """Build features, weights [B, G + N] and multiplicities [B, G + N] for B resamples.

    Args:
        rows: merged.
        counts: [B, prompts], how often each prompt stands in each resample.
    """
    times = counts[:, rows.prompt] * rows.times
    # First feature: tanh(d / sd(d)), with the deviation of this resample; that is why it is [B, N] and others are [N].
    total = times.sum(1, keepdims=True)
    mean = (times @ rows.length_deltas)[:, None] / total
    spread = np.sqrt((times * (rows.length_deltas - mean) ** 2).sum(1, keepdims=True) / np.maximum(total - 1, 1))
    lengths: Matrix = np.tanh(rows.length_deltas / np.where(spread > 0, spread, 1.0))
    # Last feature: 1 for the model's rows, whose coefficient is theta.
    model = np.ones(len(rows.shares))
    if rows.gamed is None:
        columns = (lengths, *(() if rows.difficulty is None else (rows.difficulty,)), model)
        return SoftLabels(columns, rows.shares), times, times
    # Gamed rows are those of another model, so that theta plays no part in them: only phi and psi do.
    gamed = rows.gamed
    gamed_lengths = np.broadcast_to(np.tanh(gamed.lengths), (len(counts), rows.gamed_count))
    gamed_times = np.ones((len(counts), rows.gamed_count))
    difficulty = np.concatenate([gamed.difficulty, rows.difficulty if rows.difficulty is not None else []])
    columns = (
        np.hstack([gamed_lengths, lengths]),
        difficulty,
        np.concatenate([np.zeros(rows.gamed_count), model]),
    )
    data = SoftLabels(columns, np.concatenate([gamed.shares, rows.shares]))
    return data, np.hstack([gamed.weight * gamed_times, times]), np.hstack([gamed_times, times])


def _fit(
    rows: _MergedRows, counts: Matrix, penalty: FloatColumn | None, starts: Matrix | None = None
) -> tuple[Matrix, FloatColumn]:
    """Fit coefficients [B, K]; where C [B] is not given, take that of the best mean loss over folds.

    Args:
        rows: merged.
        counts: [B, prompts], how often each prompt stands in each resample.
        penalty: C [B], or None.
        starts: [10, K] to begin from, one row per C of `GRID`.
    """
    data, weights, times = _build_features(rows, counts)
    if starts is None:
        starts = _fit_path(rows)
    if penalty is None:
        # All folds of all resamples are fitted at once: fit number 5 b + f leaves out fold f of resample b.
        resample = np.repeat(np.arange(len(weights)), _FOLDS)
        is_held_out = np.tile(rows.fold == np.arange(_FOLDS)[:, None], (len(weights), 1))
        folds, fold_weights = data.select_fits(resample), weights[resample]
        train_weights = np.where(is_held_out, 0.0, fold_weights)
        # The loss of a fold is divided by its rows and not by their weights.
        held_out_rows = np.maximum(np.where(is_held_out, times[resample], 0).sum(1, keepdims=True), 1)
        test_weights = np.where(is_held_out, fold_weights, 0.0) / held_out_rows
        losses = []
        for inverse, start in zip(GRID, starts, strict=True):
            # Starts are those of all rows; one fold less is near enough to begin there.
            begin = np.tile(start, (len(resample), 1))
            coefficients = fit_sparse(folds, train_weights, np.full(len(resample), inverse), begin)
            loss = (test_weights * cross_entropy(folds.shares, compute_log_odds(folds, coefficients))).sum(1)
            losses.append(loss.reshape(-1, _FOLDS).mean(1))
        # argmin takes the first of equals, which is the smallest C: the strongest penalty.
        penalty = GRID[np.argmin(np.array(losses), axis=0)]
    # Each fit begins at the fit to all rows with its C: a resample moves coefficients little.
    nearest = np.abs(GRID[:, None] - penalty).argmin(0)
    return fit_sparse(data, weights, penalty, starts[nearest]), penalty


def _fit_path(rows: _MergedRows) -> Matrix:
    """Fit all rows for every C of `GRID`, [10, K]; the fits to resamples and folds begin there.

    From small C, where all coefficients are 0, to large C, each fit begins where the last one ended.
    """
    data, weights, _ = _build_features(rows, np.ones((1, rows.prompts)))
    path: list[Matrix] = []
    for penalty in GRID:
        path.append(fit_sparse(data, weights, np.array([penalty]), path[-1] if path else None))
    return np.concatenate(path)
