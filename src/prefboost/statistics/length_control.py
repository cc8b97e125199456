"""The length-controlled win rate of AlpacaEval 2 (arXiv 2404.04475), with a bootstrap of the whole procedure.

A logistic regression of the share of each win on the difference in length, the prompt's difficulty and the model, with
an L1 penalty that cross-validation chooses; then the mean prediction at equal length. Upstream:
`alpaca_eval/metrics/glm_winrate.py` at cd543a1, ``length_controlled_v1``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, expand_percentiles
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval
from prefboost.statistics.sparse_logistic import Matrix, SoftLabels, compute_log_odds, cross_entropy, fit_sparse

__all__ = [
    "GRID",
    "GamedRows",
    "LengthControl",
    "LengthRows",
    "build_design",
    "assign_folds",
    "fit_length_control",
    "resample_length_control",
    "estimate_length_control",
    "predict_share",
]

GRID: FloatColumn = np.logspace(-4, 4, 10)
"""C of cross-validation (scikit-learn's default ten)."""

_FOLDS = 5
_BLOCK = 8000  # rows, and 8 to 16 resamples, that are fitted together: they stay in the cache


@dataclass(frozen=True)
class GamedRows:
    """Rows of a baseline that was made long or short, which hold the coefficient of length in place.

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
    """Judged rows of one model.

    Args:
        shares: [N], share of the win, 0..1.
        longer: [N], length of the baseline's completion less that of the model's.
        difficulty: [N]; None where prompts have none, which leaves the minimal form: length and model.
        gamed: see `GamedRows`; only with difficulty.
        prompts: [N] labels: rows of one prompt share a fold and are drawn together; None: each row is its own.
    """

    shares: ArrayLike
    longer: ArrayLike
    difficulty: ArrayLike | None = None
    gamed: GamedRows | None = None
    prompts: ArrayLike | None = None


@dataclass(frozen=True)
class LengthControl:
    """A fitted length-controlled win rate.

    Args:
        share: 0..1 at equal length.
        upstream_error: upstream's standard error, of the predictions alone: too small, since the fit is taken as known.
        coefficients: of tanh(length), difficulty (absent in the minimal form) and the model.
        inverse_penalty: C that cross-validation chose.
        minimal: whether the form without difficulty and gamed rows was fitted.
    """

    share: float
    upstream_error: float
    coefficients: dict[str, float]
    inverse_penalty: float
    minimal: bool


@dataclass(frozen=True)
class _Rows:
    """Columns as arrays: gamed rows first, then the model's. ``fold`` and ``prompt`` are numbers.

    Rows of a prompt that have the same features (both orders) are one row of their mean share, which stands ``often``:
    the loss is linear in the share, so that the fit is the same and takes half the time.
    """

    shares: FloatColumn
    longer: FloatColumn
    difficulty: FloatColumn | None
    gamed: GamedRows | None
    prompt: NDArray[np.intp]
    prompts: int
    fold: NDArray[np.intp]
    often: FloatColumn

    @property
    def count(self) -> int:
        return int(self.often.sum())

    @property
    def before(self) -> int:
        return 0 if self.gamed is None else len(self.gamed.shares)


def fit_length_control(rows: LengthRows, inverse_penalty: float | None = None) -> LengthControl:
    """Fit and predict.

    Args:
        rows: of one model.
        inverse_penalty: C; None lets cross-validation choose.

    Raises:
        DataError: columns differ in length or hold NaN, shares lie outside of 0..1, or gamed rows have no difficulty.
    """
    made = _checked(rows)
    counts = np.ones((1, made.prompts))
    chosen = None if inverse_penalty is None else np.array([inverse_penalty])
    coefficients, chosen = _fitted(made, counts, chosen)
    predicted = predict_share(coefficients[0], made.difficulty, len(made.shares)).repeat(made.often.astype(int))
    names = ["length", *([] if made.difficulty is None else ["difficulty"]), "model"]
    count = len(predicted)
    return LengthControl(
        float(predicted.mean()),
        float(predicted.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        dict(zip(names, coefficients[0].tolist(), strict=True)),
        float(chosen[0]),
        made.difficulty is None,
    )


def predict_share(coefficients: ArrayLike, difficulty: FloatColumn | None, rows: int) -> FloatColumn:
    """The share of every win at equal length, [N].

    Args:
        coefficients: of length, difficulty (where there is one) and the model.
        difficulty: [N], or None.
        rows: N.
    """
    told = np.asarray(coefficients, dtype=np.float64)
    odds = np.full(rows, told[-1]) if difficulty is None else told[1] * difficulty + told[-1]
    share: FloatColumn = 1 / (1 + np.exp(-odds))
    return share


def resample_length_control(rows: LengthRows, how: Bootstrap = USUAL, threads: int = 1) -> FloatColumn:
    """The whole procedure on resampled prompts: scaling of lengths, choice of C, fit, prediction.

    Args:
        rows: of one model; the gamed rows are part of the procedure and are not drawn.
        how: resamples, level, seed. The draws are the same for any number of threads.
        threads: that fit at a time.

    Returns:
        shares [resamples].
    """
    made = _checked(rows)
    starts = _path(made)
    rng = np.random.default_rng(how.seed)
    drawn = rng.multinomial(made.prompts, np.full(made.prompts, 1 / made.prompts), size=how.resamples)
    size = min(16, max(8, _BLOCK // (made.before + len(made.shares))))
    blocks = [drawn[at : at + size].astype(np.float64) for at in range(0, how.resamples, size)]
    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(lambda counts: _drawn(made, counts, starts), blocks)))


def estimate_length_control(rows: LengthRows, how: Bootstrap = USUAL, threads: int = 1) -> tuple[Interval, float]:
    """The length-controlled share with its percentile interval, and the standard error, of the whole procedure.

    Args:
        rows: of one model.
        how: resamples, level, seed.
        threads: that fit at a time.
    """
    made, fitted = _checked(rows), fit_length_control(rows)
    if made.prompts < _FOLDS:
        return Interval(fitted.share, np.nan, np.nan, how.level, rows=made.count, clusters=made.prompts), np.nan
    draws = resample_length_control(rows, how, threads)
    low, high = expand_percentiles(draws, made.prompts, how.level)
    interval = Interval(fitted.share, low, high, how.level, rows=made.count, clusters=made.prompts)
    return interval, float(draws.std(ddof=1))


def build_design(rows: LengthRows) -> tuple[Matrix, FloatColumn, FloatColumn]:
    """Features [N, K], shares [N] and weights [N] as they are fitted, gamed rows first (for another solver).

    Rows of one prompt with the same features are one row.
    """
    made = _checked(rows)
    data, weights, _ = _design(made, np.ones((1, made.prompts)))
    return np.column_stack([np.atleast_2d(one)[0] for one in data.columns]), data.shares, weights[0]


def assign_folds(groups: int) -> NDArray[np.intp]:
    """The fold of each of G equally large groups, as scikit-learn's GroupKFold(5) deals them."""
    order = np.argsort(np.full(groups, 2))[::-1]
    folds = np.empty(groups, dtype=np.intp)
    folds[order] = np.arange(groups) % _FOLDS
    return folds


def _checked(rows: LengthRows) -> _Rows:
    shares, longer = check_columns(shares=rows.shares, longer=rows.longer)
    if shares.min() < 0 or shares.max() > 1:
        raise DataError(
            f"shares of a win lie in 0..1, found {shares.min():g} to {shares.max():g}",
            remedy="subtract 1 from preferences",
        )
    difficulty = None if rows.difficulty is None else check_columns(shares=shares, difficulty=rows.difficulty)[1]
    if rows.gamed is not None and difficulty is None:
        raise DataError(
            "gamed rows need the prompts' difficulty", remedy="leave them out: own prompts have the minimal form"
        )
    prompt, count = number_labels(rows.prompts, len(shares))
    prompt, shares, longer, difficulty, often = _together(prompt, shares, longer, difficulty)
    before = 0 if rows.gamed is None else len(rows.gamed.shares)
    dealt = assign_folds(before + count)
    fold = np.concatenate([dealt[:before], dealt[before:][prompt]])
    return _Rows(shares, longer, difficulty, rows.gamed, prompt, count, fold, often)


def _together(
    prompt: NDArray[np.intp], shares: FloatColumn, longer: FloatColumn, difficulty: FloatColumn | None
) -> tuple[NDArray[np.intp], FloatColumn, FloatColumn, FloatColumn | None, FloatColumn]:
    """Rows of a prompt with the same features as one, in the order of the first of each, and how often each stood."""
    keys = np.column_stack([prompt, longer, *([] if difficulty is None else [difficulty])])
    _, first, place, often = np.unique(keys, axis=0, return_index=True, return_inverse=True, return_counts=True)
    means = np.bincount(place.reshape(-1), weights=shares) / often
    order = np.argsort(first)
    at = first[order]
    harder = None if difficulty is None else difficulty[at]
    return prompt[at], means[order], longer[at], harder, often[order].astype(np.float64)


def _design(rows: _Rows, counts: Matrix) -> tuple[SoftLabels, Matrix, Matrix]:
    """Features, weights and how many times each row stands, for every resample."""
    times = counts[:, rows.prompt] * rows.often
    total = times.sum(1, keepdims=True)
    mean = (times @ rows.longer)[:, None] / total
    spread = np.sqrt((times * (rows.longer - mean) ** 2).sum(1, keepdims=True) / np.maximum(total - 1, 1))
    lengths: Matrix = np.tanh(rows.longer / np.where(spread > 0, spread, 1.0))
    model = np.ones(len(rows.shares))
    if rows.gamed is None:
        columns = (lengths, *(() if rows.difficulty is None else (rows.difficulty,)), model)
        return SoftLabels(columns, rows.shares), times, times
    game = rows.gamed
    beside = np.broadcast_to(np.tanh(game.lengths), (len(counts), rows.before))
    ones = np.ones((len(counts), rows.before))
    harder = np.concatenate([game.difficulty, rows.difficulty if rows.difficulty is not None else []])
    columns = (np.hstack([beside, lengths]), harder, np.concatenate([np.zeros(rows.before), model]))
    data = SoftLabels(columns, np.concatenate([game.shares, rows.shares]))
    return data, np.hstack([game.weight * ones, times]), np.hstack([ones, times])


def _path(rows: _Rows) -> Matrix:
    """The fit to all rows for every C, [10, K]: where the fits to resamples begin."""
    data, weights, _ = _design(rows, np.ones((1, rows.prompts)))
    found: list[Matrix] = []
    for penalty in GRID:
        found.append(fit_sparse(data, weights, np.array([penalty]), found[-1] if found else None))
    return np.concatenate(found)


def _fitted(
    rows: _Rows, counts: Matrix, chosen: FloatColumn | None, starts: Matrix | None = None
) -> tuple[Matrix, FloatColumn]:
    data, weights, times = _design(rows, counts)
    if starts is None:
        starts = _path(rows)
    if chosen is None:
        chosen = _cross_validated(_Folded(data, weights, times, rows.fold), starts)
    return fit_sparse(data, weights, chosen, starts[np.abs(GRID[:, None] - chosen).argmin(0)]), chosen


@dataclass(frozen=True)
class _Folded:
    """What cross-validation needs: rows, weights and times of every resample [B, N], and the fold of each row [N]."""

    data: SoftLabels
    weights: Matrix
    times: Matrix
    fold: NDArray[np.intp]


def _cross_validated(folded: _Folded, starts: Matrix) -> FloatColumn:
    """C with the best mean over folds of the mean weighted loss; the smallest of equals."""
    within = np.repeat(np.arange(len(folded.weights)), _FOLDS)
    held = np.tile(folded.fold == np.arange(_FOLDS)[:, None], (len(folded.weights), 1))
    spread = folded.data.of(within)
    weight = folded.weights[within]
    trained = np.where(held, 0.0, weight)
    kept = np.where(held, weight, 0.0) / np.maximum(np.where(held, folded.times[within], 0).sum(1, keepdims=True), 1)
    losses = []
    for penalty, start in zip(GRID, starts, strict=True):
        begin = np.tile(start, (len(within), 1))
        coefficients = fit_sparse(spread, trained, np.full(len(within), penalty), begin)
        lost = (kept * cross_entropy(spread.shares, compute_log_odds(spread, coefficients))).sum(1)
        losses.append(lost.reshape(-1, _FOLDS).mean(1))
    best: FloatColumn = GRID[np.argmin(np.array(losses), axis=0)]
    return best


def _drawn(rows: _Rows, counts: Matrix, starts: Matrix) -> FloatColumn:
    coefficients, _ = _fitted(rows, counts, None, starts)
    odds = coefficients[:, -1:] + (0 if rows.difficulty is None else coefficients[:, 1:2] * rows.difficulty)
    times = counts[:, rows.prompt] * rows.often
    shares: FloatColumn = (times / (1 + np.exp(-odds))).sum(1) / times.sum(1)
    return shares
