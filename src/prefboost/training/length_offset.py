"""What length alone explains of preferences: one coefficient, fitted before a reward model is trained.

A logistic regression of the labels on the difference of lengths, without intercept: P(chosen) = sigmoid(c (n_w - n_l)).
With c given as an offset of the Bradley-Terry logit, rewards are trained on what length leaves unexplained; at scoring
time the offset is not added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from prefboost.losses.judged import BradleyTerry
from prefboost.training.reward_settings import TrainReward

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["fitted_offset", "with_length_offset"]

_STEPS = 100
_LARGEST = 50.0
"""Nats a hundred tokens: where labels follow length without exception there is no finite best fit."""


def with_length_offset(settings: TrainReward, units: Dataset) -> tuple[TrainReward, dict[str, float]]:
    """Settings with a number where the offset was to be fitted, and what was fitted.

    Args:
        settings: of the training.
        units: of the training set, with ``longer``, ``wins`` and ``weight`` of every pair.
    """
    loss = settings.loss
    if not isinstance(loss, BradleyTerry) or loss.length_offset != "fit":
        return settings, {}
    longer, wins, weight = (
        np.array([np.nan if number is None else number for unit in units[name] for number in unit], dtype=np.float64)
        for name in ("longer", "wins", "weight")
    )
    offset = fitted_offset(longer, np.nan_to_num(wins, nan=1.0), np.nan_to_num(weight, nan=1.0))
    given = loss.model_copy(update={"length_offset": offset})
    return settings.model_copy(update={"loss": given}), {"length_offset": offset}


def fitted_offset(longer: NDArray[np.float64], wins: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    """The coefficient of greatest likelihood, by Newton's method.

    Args:
        longer: [P], tokens of chosen minus tokens of rejected, in hundreds.
        wins: [P], probability that chosen is the better one.
        weight: [P], how much each pair counts.

    Returns:
        nats a hundred tokens, between -50 and 50; 0 where no pair differs in length.
    """
    if not np.any(longer * weight):
        return 0.0
    offset = 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset * longer, -500, 500)))
        slope = float(np.sum(weight * longer * (wins - p)))
        curvature = float(np.sum(weight * longer**2 * p * (1 - p))) + 1e-9
        step = float(np.clip(slope / curvature, -1.0, 1.0))
        offset = float(np.clip(offset + step, -_LARGEST, _LARGEST))
        if abs(step) < 1e-10:
            break
    return offset
