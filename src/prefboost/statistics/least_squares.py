"""Slopes of least squares with bootstrap intervals, from sums of products by cluster.

A fit needs of its rows only their sums and sums of products, and a resample of whole clusters has the sums of those
that it draws. So all fits of all resamples are solved at once, hundreds of times faster than fit by fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.bootstrap import USUAL, Bootstrap, build_interval
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval

__all__ = ["ResampledFits"]


class ResampledFits:
    """Fits of y = a + b_1 x_1 + ... to data and to resamples of their clusters, for any choice of the columns x.

    Args:
        y: N finite numbers.
        columns: the x, each N finite numbers.
        clusters: N labels; rows of one label are drawn together. None: every row is a cluster.
        how: resamples, level, seed.

    Raises:
        DataError: columns are empty, of different lengths, or hold NaN or an infinity.
    """

    def __init__(
        self, y: ArrayLike, columns: Sequence[ArrayLike], *, clusters: ArrayLike | None = None, how: Bootstrap = USUAL
    ) -> None:
        checked = check_columns(**{str(at): column for at, column in enumerate((y, *columns))})
        numbers, self.clusters = number_labels(clusters, len(checked[0]))
        self.rows, self.how = len(checked[0]), how
        # Centred: sums of products of large numbers would lose the digits in which they differ.
        design = np.column_stack([np.ones(self.rows), *(column - column.mean() for column in checked)])
        sums = np.zeros((self.clusters, design.shape[1], design.shape[1]))
        np.add.at(sums, numbers, design[:, :, None] * design[:, None, :])
        rng = np.random.default_rng(how.seed)
        resamples = how.resamples if self.clusters > 1 else 0
        # How often each cluster is drawn, [B, K]; one resample after the other, so that memory stays small.
        draws = [np.bincount(rng.integers(self.clusters, size=self.clusters), minlength=self.clusters)
                 for _ in range(resamples)]  # fmt: skip
        weights = np.array([np.ones(self.clusters), *draws])
        moments = np.tensordot(weights, sums, axes=1)
        # [1 + B, 1 + X, 1 + X]: sums of squares and products about the means, first of the data themselves.
        means = moments[:, 0, 1:] / moments[:, 0, :1]
        self._products = moments[:, 1:, 1:] - moments[:, :1, :1] * means[:, :, None] * means[:, None, :]

    def estimate_slope(self, at: int, beside: Sequence[int] = ()) -> Interval:
        """Estimate the slope of y on a column, at equal values of others.

        Args:
            at: the column.
            beside: columns that are fitted beside it.
        """
        return self._build(self._fit(at, beside))

    def estimate_share(self, of: int, at: int, beside: Sequence[int] = ()) -> Interval:
        """Estimate the share of a slope that goes with another column: 1 - slope beside it / slope.

        Args:
            of: the other column.
            at: the column whose slope is shared.
            beside: columns that are fitted beside it in both fits.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = 1 - self._fit(at, (*beside, of)) / self._fit(at, beside)
        return self._build(np.where(np.isfinite(shares), shares, np.nan))

    def _fit(self, at: int, beside: Sequence[int]) -> FloatColumn:
        """Fit the data and every resample, [1 + B]; NaN where the column is constant."""
        x = [1 + at, *(1 + other for other in beside)]
        squares = self._products[:, x][:, :, x]
        # On one scale, so that what is constant but for rounding can be told: its square is 0, relative to the data's.
        scales = np.sqrt(np.maximum(squares[0].diagonal(), 0.0))
        scales = np.where(scales > 0, scales, 1.0)
        relative = squares / (scales[:, None] * scales)
        # The pseudoinverse gives the shortest of all fits where a resample leaves several.
        inverse = np.linalg.pinv(relative, rcond=1e-10, hermitian=True)
        slopes: FloatColumn = (inverse @ (self._products[:, x, 0] / scales)[:, :, None])[:, 0, 0] / scales[0]
        return np.where(relative[:, 0, 0] > 1e-10, slopes, np.nan)

    def _build(self, values: FloatColumn) -> Interval:
        return build_interval(float(values[0]), values[1:], self.rows, self.clusters, self.how)
