"""Standard errors that know that completions of one prompt are not independent."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.columns import check_columns, number_labels

__all__ = ["cluster_standard_error"]


def cluster_standard_error(values: ArrayLike, clusters: ArrayLike | None = None) -> float:
    """The standard error of a mean over N rows in K clusters (Liang and Zeger 1986; arXiv 2411.00640).

    sqrt(K / (K - 1) sum over clusters of (sum of residuals)^2) / N; with one row a cluster it is s / sqrt(N).

    Args:
        values: N finite numbers.
        clusters: N labels; None: every row is its own.

    Returns:
        in the unit of the values, >= 0; NaN for fewer than two clusters.
    """
    (column,) = check_columns(values=values)
    numbers, count = number_labels(clusters, len(column))
    if count < 2:
        return float("nan")
    residuals = np.bincount(numbers, weights=column - column.mean())
    return float(np.sqrt(count / (count - 1) * (residuals @ residuals)) / len(column))
