"""Standard errors for rows that are not independent, such as completions of one prompt."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from prefboost.statistics.columns import check_columns, number_labels

__all__ = ["cluster_standard_error"]


def cluster_standard_error(values: ArrayLike, clusters: ArrayLike | None = None) -> float:
    """Compute the standard error of a mean over N rows in K clusters (Liang and Zeger 1986; arXiv 2411.00640).

    sqrt(K / (K - 1) sum over clusters of (sum of residuals)^2) / N; with one row per cluster it is s / sqrt(N).

    Args:
        values: N finite numbers.
        clusters: N labels; None: every row is a cluster.

    Returns:
        in the unit of the values, >= 0; NaN for fewer than two clusters.
    """
    (column,) = check_columns(values=values)
    numbers, count = number_labels(clusters, len(column))
    if count < 2:
        return float("nan")
    # Residuals of a cluster are added up before they are squared: rows that err together count as one error. The factor
    # K / (K - 1) makes up for the mean that was taken off, as N / (N - 1) does for independent rows.
    residuals = np.bincount(numbers, weights=column - column.mean())
    return float(np.sqrt(count / (count - 1) * (residuals @ residuals)) / len(column))
