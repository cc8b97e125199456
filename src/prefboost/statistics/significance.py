"""Several comparisons in one table, and how small a difference a benchmark of its size can show."""

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

Name = TypeVar("Name")


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same prompts.

    Args:
        difference: mean of first less second, with its bootstrap interval.
        error: its standard error, clustered by prompt.
        chance: two-sided probability of such a difference by luck (normal); NaN for fewer than two clusters.
        detectable: the smallest true difference that would be found in 80 % of such comparisons, at 5 %.
    """

    difference: Interval
    error: float
    chance: float
    detectable: float


def run_paired_test(
    first: ArrayLike, second: ArrayLike, *, clusters: ArrayLike | None = None, how: Bootstrap = USUAL
) -> PairedTest:
    """Compare row against row.

    Args:
        first: N finite numbers of one model.
        second: N finite numbers of the other, of the same prompts in the same order.
        clusters: N labels (prompts); None: every row is its own.
        how: resamples, level, seed of the interval.

    Raises:
        DataError: the columns differ in length, are empty, or hold NaN or an infinity.
    """
    one, other = check_columns(first=first, second=second)
    difference = bootstrap_difference(one, other, clusters=clusters, how=how)
    error = cluster_standard_error(one - other, clusters)
    if np.isnan(error):
        return PairedTest(difference, error, error, error)
    if error == 0:
        return PairedTest(difference, 0.0, 1.0 if difference.estimate == 0 else 0.0, 0.0)
    chance = 2 * NormalDist().cdf(-abs(difference.estimate) / error)
    return PairedTest(difference, error, chance, minimum_detectable_effect(error))


def holm(chances: Mapping[Name, float]) -> dict[Name, float]:
    """P-values of one table, adjusted so that the chance of any false finding keeps to the level (Holm 1979).

    Args:
        chances: name -> p-value in 0..1; NaN is kept, and counts as no test.

    Returns:
        name -> adjusted p-value, in the order given: never smaller than its own, rising with it, at most 1.
    """
    told = sorted((name for name in chances if not np.isnan(chances[name])), key=lambda name: chances[name])
    made = dict(chances)
    highest = 0.0
    for rank, name in enumerate(told):
        highest = max(highest, min(1.0, (len(told) - rank) * chances[name]))
        made[name] = highest
    return made


def minimum_detectable_effect(error: float, *, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test finds with a given power: (z_{1-level/2} + z_power) error.

    Args:
        error: standard error of the difference; the unit of the result (arXiv 2411.00640, section 5).
        level: chance of a false finding.
        power: chance of a true one.

    Raises:
        SettingsError: level or power is outside of 0..1.
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise SettingsError(f"level {level:g} and power {power:g} must lie between 0 and 1", remedy="use 0.05 and 0.8")
    return (NormalDist().inv_cdf(1 - level / 2) + NormalDist().inv_cdf(power)) * error
