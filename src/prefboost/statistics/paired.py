"""Two policies on the same prompts: the mean difference, which varies less than the difference of two means."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.columns import FloatColumn, check_columns
from prefboost.statistics.interval import Interval

_Key = TypeVar("_Key", bound=Hashable)

__all__ = ["match_means", "bootstrap_difference"]


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """Estimate mean(first - second), row against row, with its interval.

    Args:
        first: N finite numbers of one policy.
        second: N finite numbers of the other, of the same prompts (and goals) in the same order.
        clusters: N labels (prompts); rows of one label are drawn together. None: every row is a cluster.
        how: resamples, level, seed.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    minuend, subtrahend = check_columns(first=first, second=second)
    return bootstrap_mean(minuend - subtrahend, clusters=clusters, how=how)


def match_means(
    first: tuple[Sequence[_Key], ArrayLike], second: tuple[Sequence[_Key], ArrayLike]
) -> tuple[list[_Key], FloatColumn, FloatColumn]:
    """Average the rows of two policies per key (a prompt, or a prompt and a goal), both in one order.

    Args:
        first: N keys and N finite numbers of one policy.
        second: M keys and M finite numbers of the other.

    Returns:
        the K keys in the order of ``first``, and both policies' means [K].

    Raises:
        DataError: a key is on one side only, so that the two cannot be compared.
    """
    # The mean per key first: a policy with more samples of a prompt would otherwise weigh that prompt more.
    means: list[dict[_Key, float]] = []
    for keys, values in (first, second):
        (column,) = check_columns(values=values)
        if len(keys) != len(column):
            raise DataError(f"{len(keys)} keys for {len(column)} numbers", remedy="give one key per number")
        by_key: dict[_Key, list[float]] = {}
        for key, value in zip(keys, column, strict=True):
            by_key.setdefault(key, []).append(float(value))
        means.append({key: float(np.mean(numbers)) for key, numbers in by_key.items()})
    unmatched = means[0].keys() ^ means[1].keys()
    if unmatched:
        example, count = min(unmatched, key=repr), len(means[0].keys() | means[1].keys())
        raise DataError(
            f"{len(unmatched)} of {count} keys are on one side only, such as {example!r}",
            remedy="give both policies the same prompts and goals, or drop these from both and report how many",
        )
    matched = list(means[0])
    return matched, np.array([means[0][key] for key in matched]), np.array([means[1][key] for key in matched])
