"""Whether probabilities mean what they say: reliability curve, expected calibration error, Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from prefboost.errors import DataError
from prefboost.statistics.columns import check_columns

__all__ = ["Calibration", "ReliabilityBin", "measure_calibration"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Forecasts of one range.

    Args:
        low, high: the range, 0..1; low belongs to it.
        forecast: mean probability.
        share: how often it came true.
        rows: how many there are.
    """

    low: float
    high: float
    forecast: float
    share: float
    rows: int


@dataclass(frozen=True)
class Calibration:
    """How far forecasts are off.

    Args:
        bins: ranges that hold any forecast.
        error: mean over rows of |forecast - share| of their range, 0..1 (ECE; arXiv 1706.04599, equation 3).
        brier: mean of (probability - outcome)^2 (Brier 1950), 0..1.
    """

    bins: tuple[ReliabilityBin, ...]
    error: float
    brier: float


def measure_calibration(probabilities: ArrayLike, outcomes: ArrayLike, *, bins: int = 10) -> Calibration:
    """Hold probabilities against outcomes.

    Args:
        probabilities: N numbers, 0..1.
        outcomes: N numbers, 0..1: 1 where it came true; 0.5 where it is undecided.
        bins: equal ranges of 0..1.

    Raises:
        DataError: there are none, or a number outside of 0..1.
    """
    forecast, true = check_columns(probabilities=probabilities, outcomes=outcomes)
    if min(forecast.min(), true.min()) < 0 or max(forecast.max(), true.max()) > 1:
        raise DataError("a probability or outcome lies outside of 0..1", remedy="give probabilities, and 1 or 0")
    at = np.minimum((forecast * bins).astype(int), bins - 1)
    found = tuple(
        ReliabilityBin(one / bins, (one + 1) / bins, float(forecast[at == one].mean()), float(true[at == one].mean()),
                       int((at == one).sum()))
        for one in np.unique(at)
    )  # fmt: skip
    error = sum(one.rows * abs(one.forecast - one.share) for one in found) / len(forecast)
    return Calibration(found, float(error), float(np.mean((forecast - true) ** 2)))
