"""Tests of differences: one pair of models, several in one table, and the smallest difference that can be detected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import SettingsError
from prefboost.statistics.bootstrap import USUAL, Bootstrap
from prefboost.statistics.cluster_error import cluster_standard_error
from prefboost.statistics.columns import check_columns
from prefboost.statistics.interval import Interval
from prefboost.statistics.paired import bootstrap_difference

__all__ = ["PairedTest", "holm", "minimum_detectable_effect", "run_paired_test"]

_Name = TypeVar("_Name")


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same prompts.

    Args:
        difference: mean of first less second, with its bootstrap interval.
        error: its standard error, clustered by prompt.
        chance: p-value, two-sided (normal); NaN for fewer than two clusters.
        detectable: the smallest true difference that 80 % of such comparisons would find, at 5 %.
    """

    difference: Interval
    error: float
    chance: float
    detectable: float


def run_paired_test(
    first: ArrayLike, second: ArrayLike, *, clusters: ArrayLike | None = None, how: Bootstrap = USUAL
) -> PairedTest:
    """Test the mean difference of two models, row against row.

    Args:
        first: N finite numbers of one model.
        second: N finite numbers of the other, of the same prompts in the same order.
        clusters: N labels (prompts); None: every row is a cluster.
        how: resamples, level, seed of the interval.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    minuend, subtrahend = check_columns(first=first, second=second)
    difference = bootstrap_difference(minuend, subtrahend, clusters=clusters, how=how)
    error = cluster_standard_error(minuend - subtrahend, clusters)
    # One cluster: nothing is known of the spread, so that neither error nor p-value exist.
    if np.isnan(error):
        return PairedTest(difference, error, error, error)
    # All differences are equal: they are 0 for certain, or different from 0 for certain.
    if error == 0:
        return PairedTest(difference, 0.0, 1.0 if difference.estimate == 0 else 0.0, 0.0)
    chance = 2 * NormalDist().cdf(-abs(difference.estimate) / error)
    return PairedTest(difference, error, chance, minimum_detectable_effect(error))


def holm(chances: Mapping[_Name, float]) -> dict[_Name, float]:
    """Adjust the p-values of one table so that the chance of any false positive keeps to the level (Holm 1979).

    Args:
        chances: name -> p-value in 0..1; NaN stays NaN and counts as no test.

    Returns:
        name -> adjusted p-value, in the order given: at least the p-value, rising with it, at most 1.
    """
    tests = sorted((name for name in chances if not np.isnan(chances[name])), key=lambda name: chances[name])
    adjusted = dict(chances)
    # The k-th smallest of m p-values counts m - k times; the running maximum keeps their order.
    highest = 0.0
    for rank, name in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * chances[name]))
        adjusted[name] = highest
    return adjusted


def minimum_detectable_effect(error: float, *, level: float = 0.05, power: float = 0.8) -> float:
    """Compute the smallest true difference that a two-sided test detects: (z_{1-level/2} + z_power) error.

    Args:
        error: standard error of the difference; the unit of the result (arXiv 2411.00640, section 5).
        level: chance of a false positive.
        power: chance of a true positive.

    Raises:
        SettingsError: level or power is outside of 0..1.
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise SettingsError(f"level {level:g} and power {power:g} must lie between 0 and 1", remedy="use 0.05 and 0.8")
    return (NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)) * error
