"""Two policies on the same prompts: the mean difference, which is sharper than the difference of two means."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.columns import FloatColumn, check_columns
from prefboost.statistics.interval import Interval

Key = TypeVar("Key", bound=Hashable)

__all__ = ["match_means", "bootstrap_difference"]


def bootstrap_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> Interval:
    """The interval of mean(first - second), row against row.

    Args:
        first: N finite numbers of one policy.
        second: N finite numbers of the other, of the same prompts (and goals) in the same order.
        clusters: N labels (prompts); rows of one label are drawn together. None: every row is its own.
        how: resamples, level, seed.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    one, other = check_columns(first=first, second=second)
    return bootstrap_mean(one - other, clusters=clusters, how=how)


def match_means(
    first: tuple[Sequence[Key], ArrayLike], second: tuple[Sequence[Key], ArrayLike]
) -> tuple[list[Key], FloatColumn, FloatColumn]:
    """Rows of two policies brought into one order: per key (a prompt, or a prompt and a goal) the mean of its rows.

    Args:
        first: N keys and N finite numbers of one policy.
        second: M keys and M finite numbers of the other.

    Returns:
        the K keys in the order of ``first``, and both policies' means [K].

    Raises:
        DataError: a key is only on one side, so that the two do not compare.
    """
    means = [_means(keys, values) for keys, values in (first, second)]
    alone = means[0].keys() ^ means[1].keys()
    if alone:
        example = min(alone, key=repr)
        raise DataError(
            f"{len(alone)} of {len(means[0].keys() | means[1].keys())} keys are on one side only, such as {example!r}",
            remedy="give both policies the same prompts and goals, or drop these from both and report how many",
        )
    keys = list(means[0])
    return keys, np.array([means[0][key] for key in keys]), np.array([means[1][key] for key in keys])


def _means(keys: Sequence[Key], values: ArrayLike) -> dict[Key, float]:
    (column,) = check_columns(values=values)
    if len(keys) != len(column):
        raise DataError(f"{len(keys)} keys for {len(column)} numbers", remedy="give one key a number")
    gathered: dict[Key, list[float]] = {}
    for key, value in zip(keys, column, strict=True):
        gathered.setdefault(key, []).append(float(value))
    return {key: float(np.mean(found)) for key, found in gathered.items()}
