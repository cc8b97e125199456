"""Calibration of probabilities: reliability curve, expected calibration error, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.columns import check_columns

__all__ = ["Calibration", "ReliabilityBin", "measure_calibration"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Forecasts of one range of probabilities.

    Args:
        low: lower end, 0..1; it belongs to the range.
        high: upper end.
        forecast: mean probability.
        share: mean outcome.
        rows: how many there are.
    """

    low: float
    high: float
    forecast: float
    share: float
    rows: int


@dataclass(frozen=True)
class Calibration:
    """Errors of forecasts.

    Args:
        bins: ranges that hold at least one forecast.
        error: mean over rows of |forecast - share| of their range, 0..1 (ECE; arXiv 1706.04599, equation 3).
        brier: mean of (probability - outcome)^2 (Brier 1950), 0..1.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float
    brier: float


def measure_calibration(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 10) -> Calibration:
    """Compare probabilities with outcomes.

    Args:
        probabilities: N numbers, 0..1.
        outcomes: N numbers, 0..1: 1 where it came true; 0.5 where it is undecided.
        bins: equal ranges of 0..1.

    Raises:
        DataError: there are none, or a number outside of 0..1.
    """
    forecast, outcome = check_columns(probabilities=probabilities, outcomes=outcomes)
    if min(forecast.min(), outcome.min()) < 0 or max(forecast.max(), outcome.max()) > 1:
        raise DataError("a probability or outcome is outside of 0..1", remedy="give probabilities, and 1 or 0")
    # A forecast of exactly 1 belongs to the last range, not to one of its own.
    at = np.minimum((forecast * bins).astype(int), bins - 1)
    ranges = []
    for number in np.unique(at):
        inside = at == number
        ends = (number / bins, (number + 1) / bins)
        ranges.append(
            ReliabilityBin(*ends, float(forecast[inside].mean()), float(outcome[inside].mean()), int(inside.sum()))
        )
    # ECE weights ranges by their rows, so that empty ranges play no part and need no value.
    error = sum(part.rows * abs(part.forecast - part.share) for part in ranges) / len(forecast)
    return Calibration(tuple(ranges), float(error), float(np.mean((forecast - outcome) ** 2)))
