"""Agreement of judgements, and two biases of judges: the order in which answers are shown, and length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.columns import check_columns, check_range, number_labels
from prefboost.statistics.interval import Interval
from prefboost.statistics.rank_correlation import correlate
from prefboost.statistics.slope import fit_slope

__all__ = ["LengthBias", "measure_agreement", "cohens_kappa", "measure_first_place_share", "measure_length_bias"]

Labels = Sequence[Hashable]


@dataclass(frozen=True)
class LengthBias:
    """Dependence of verdicts on length.

    Args:
        longer_wins: share of wins of the longer side, ties half; above 0.5 may be bias or merit.
        correlation: Pearson's, of the verdict (-1, 0, 1) with the difference in length; NaN where either is constant.
        per_deviation: least-squares slope of the same, per standard deviation of the difference.
        equally_long: rows left out of ``longer_wins``, since neither side is longer.
    """

    longer_wins: Interval | None
    correlation: float
    per_deviation: float
    equally_long: int


def measure_agreement(
    first: Labels, second: Labels, *, clusters: ArrayLike | None = None, how: Bootstrap = USUAL
) -> Interval:
    """Measure the share of rows on which two judges give the same label.

    Args:
        first: N labels of one judge.
        second: N labels of the other, row against row.
        clusters: N labels (prompts); rows of one label are drawn together.
        how: resamples, level, seed.

    Raises:
        DataError: there are no rows, or not as many of each.
    """
    _check_labels(first, second)
    is_same = [label == other for label, other in zip(first, second, strict=True)]
    return bootstrap_mean(is_same, clusters=clusters, how=how)


def cohens_kappa(first: Labels, second: Labels) -> float:
    """Compute agreement beyond chance, kappa = (p_o - p_e) / (1 - p_e).

    Cohen (1960), A coefficient of agreement for nominal scales.

    Args:
        first: N labels of one judge.
        second: N labels of the other, row against row.

    Returns:
        at most 1; 0 is what chance gives; NaN where both give the same label throughout (p_e = 1).

    Raises:
        DataError: there are no rows, or not as many of each.
    """
    _check_labels(first, second)
    # Labels are numbered in order of appearance; the trace and the margins do not depend on the order.
    number = {label: at for at, label in enumerate(dict.fromkeys(chain(first, second)))}
    joint = np.zeros((len(number), len(number)))
    for label, other in zip(first, second, strict=True):
        joint[number[label], number[other]] += 1
    joint /= joint.sum()
    # p_e: both judges draw from their own margins, independently.
    by_chance = float(joint.sum(0) @ joint.sum(1))
    # Both margins are one label: kappa is 0 / 0, and rounding would make any number of it.
    if np.isclose(by_chance, 1.0):
        return float("nan")
    return (float(np.trace(joint)) - by_chance) / (1 - by_chance)


def measure_first_place_share(wins: ArrayLike, *, pairs: ArrayLike | None = None, how: Bootstrap = USUAL) -> Interval:
    """Measure the share of wins of the side that is shown first; 0.5 is a judge whom the order does not sway.

    Args:
        wins: N numbers in 0..1, one per judgement: 1 where the side shown first won, 0.5 for a tie. Every pair must be
            judged in both orders, or merit does not cancel.
        pairs: N labels (pairs or prompts); judgements of one label are drawn together.
        how: resamples, level, seed.

    Raises:
        DataError: there are no judgements, or a number outside of 0..1.
    """
    (column,) = check_columns(wins=wins)
    check_range(column, 0, 1, noun="wins", remedy="write 1, 0.5 for a tie, and 0")
    return bootstrap_mean(column, clusters=pairs, how=how)


def measure_length_bias(
    verdicts: ArrayLike,
    differences: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> LengthBias:
    """Measure how far verdicts follow length.

    Args:
        verdicts: N numbers in -1..1, one per pair: 1 where the first side won, -1 where the second did, 0 for a tie.
        differences: N numbers: length of the first side less that of the second.
        clusters: N labels (prompts), for the interval.
        how: resamples, level, seed.

    Raises:
        DataError: there are no pairs, the columns differ in length, or a verdict is outside of -1..1.
    """
    verdict, length_delta = check_columns(verdicts=verdicts, differences=differences)
    check_range(verdict, -1, 1, noun="verdicts", remedy="write 1, 0 for a tie, and -1")
    # Numbered over all rows, before some are left out: a label keeps its cluster, and labels may be of any type.
    numbers, _ = number_labels(clusters, len(verdict))
    differs = length_delta != 0
    # A verdict for the longer side is 1, against it 0, a tie 1/2.
    shares = (1 + verdict[differs] * np.sign(length_delta[differs])) / 2
    # Per deviation, so that characters, words and tokens give comparable slopes.
    spread = length_delta.std()
    return LengthBias(
        longer_wins=bootstrap_mean(shares, clusters=numbers[differs], how=how) if differs.any() else None,
        correlation=correlate(verdict, length_delta),
        per_deviation=fit_slope(length_delta / spread, verdict) if spread > 0 else float("nan"),
        equally_long=int((~differs).sum()),
    )


def _check_labels(first: Labels, second: Labels) -> None:
    if len(first) != len(second) or not len(first):
        raise DataError(
            f"{len(first)} labels of one judge and {len(second)} of the other",
            remedy="give each row a label of each, and at least one row",
        )
