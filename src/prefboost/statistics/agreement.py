"""Whether judgements agree, and what leads them astray: order of showing, and length."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.bootstrap import USUAL, Bootstrap, bootstrap_mean
from prefboost.statistics.columns import FloatColumn, check_columns, number_labels
from prefboost.statistics.interval import Interval
from prefboost.statistics.slope import fit_slope

__all__ = ["LengthBias", "measure_agreement", "cohens_kappa", "measure_first_place_share", "measure_length_bias"]

Labels = Sequence[Hashable]


@dataclass(frozen=True)
class LengthBias:
    """How far verdicts follow length.

    Args:
        longer_wins: share of wins of the longer side, ties half; 0.5 is none, more may be bias or may be merit.
        correlation: Pearson's, of the verdict (-1, 0, 1) with the difference in length; NaN where one is constant.
        per_deviation: least-squares slope of the same, for a difference of one standard deviation.
        equally_long: rows left out of ``longer_wins``, since neither side is longer.
    """

    longer_wins: Interval | None
    correlation: float
    per_deviation: float
    equally_long: int


def measure_agreement(
    first: Labels, second: Labels, *, clusters: ArrayLike | None = None, how: Bootstrap = USUAL
) -> Interval:
    """The share of rows on which two judges say the same.

    Args:
        first: N labels of one judge.
        second: N labels of the other, row against row.
        clusters: N labels (prompts); rows of one label are drawn together.
        how: resamples, level, seed.

    Raises:
        DataError: there are no rows, or not as many of each.
    """
    _check(first, second)
    return bootstrap_mean([one == other for one, other in zip(first, second, strict=True)], clusters=clusters, how=how)


def cohens_kappa(first: Labels, second: Labels) -> float:
    """Agreement beyond chance: (p_o - p_e) / (1 - p_e) (Cohen 1960, A coefficient of agreement for nominal scales).

    Args:
        first: N labels of one judge.
        second: N labels of the other, row against row.

    Returns:
        at most 1; 0 is what chance gives; NaN where both give one and the same label throughout (p_e = 1).

    Raises:
        DataError: there are no rows, or not as many of each.
    """
    _check(first, second)
    known = {label: at for at, label in enumerate(dict.fromkeys([*first, *second]))}
    crossed = np.zeros((len(known), len(known)))
    for one, other in zip(first, second, strict=True):
        crossed[known[one], known[other]] += 1
    crossed /= crossed.sum()
    by_chance = float(crossed.sum(0) @ crossed.sum(1))
    if np.isclose(by_chance, 1.0):
        return float("nan")
    return (float(np.trace(crossed)) - by_chance) / (1 - by_chance)


def measure_first_place_share(wins: ArrayLike, *, pairs: ArrayLike | None = None, how: Bootstrap = USUAL) -> Interval:
    """The share of wins of the side that is shown first; 0.5 is a judge whom the order does not sway.

    Args:
        wins: N numbers in 0..1, one a judging: 1 where the first-shown side won, 0.5 for a tie. Every pair is to be
            judged in both orders, or merit does not cancel.
        pairs: N labels (pairs or prompts); judgings of one label are drawn together.
        how: resamples, level, seed.

    Raises:
        DataError: there are no judgings, or a number outside of 0..1.
    """
    (column,) = check_columns(wins=wins)
    if column.min() < 0 or column.max() > 1:
        raise DataError(
            f"wins lie in 0..1, found {column.min():g} to {column.max():g}", remedy="write 1, 0.5 for a tie, and 0"
        )
    return bootstrap_mean(column, clusters=pairs, how=how)


def measure_length_bias(
    verdicts: ArrayLike,
    differences: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    how: Bootstrap = USUAL,
) -> LengthBias:
    """How far verdicts follow length.

    Args:
        verdicts: N numbers in -1..1, one a pair: 1 where the one side won, -1 where the other did, 0 for a tie.
        differences: N numbers: length of the one side less that of the other.
        clusters: N labels (prompts), for the interval.
        how: resamples, level, seed.

    Raises:
        DataError: there are no pairs, or the columns differ in length.
    """
    won, longer = check_columns(verdicts=verdicts, differences=differences)
    numbers, _ = number_labels(clusters, len(won))
    told = longer != 0
    shares = (1 + won[told] * np.sign(longer[told])) / 2
    return LengthBias(
        longer_wins=bootstrap_mean(shares, clusters=numbers[told], how=how) if told.any() else None,
        correlation=_correlation(won, longer),
        per_deviation=fit_slope(longer / longer.std(), won) if longer.std() > 0 else float("nan"),
        equally_long=int((~told).sum()),
    )


def _correlation(one: FloatColumn, other: FloatColumn) -> float:
    a, b = one - one.mean(), other - other.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip((a @ b) / scale, -1, 1)) if scale > 0 else float("nan")


def _check(first: Labels, second: Labels) -> None:
    if len(first) != len(second) or not len(first):
        raise DataError(
            f"{len(first)} labels of one judge and {len(second)} of the other",
            remedy="give each row one label of each, and at least one row",
        )
