"""The share of preferences or scores that length alone explains: fitted before training, and constant in it.

Pairs: a logistic regression of the labels on the difference of lengths, without intercept, with whatever margin,
weight, probability and smoothing the loss gives a pair: P(chosen) = sigmoid(c (n_w - n_l) - margin). Scores: a linear
regression within prompts, for every head: s - mean(s) = b (n - mean(n)). With c or b as an offset, rewards are trained
on what length leaves unexplained; at scoring time the offset is not added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prefboost.errors import DataError, Place, SettingsError
from prefboost.losses.reward import BradleyTerry, Regression
from prefboost.training.reward.settings import TrainReward

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["fit_offset", "fit_slopes", "with_length_offset"]

_STEPS = 100
_LARGEST = 50.0
"""Nats a hundred tokens: where labels follow length without exception there is no finite best fit."""

Numbers = NDArray[np.float64]


def with_length_offset(settings: TrainReward, units: Dataset) -> tuple[TrainReward, dict[str, float]]:
    """Fit the offset where the settings ask for it; return settings with numbers, and the metrics of the fit.

    Args:
        settings: of the training.
        units: of the training set, as `prefboost.training.reward.units` makes them.

    Raises:
        SettingsError: the loss is one whose offset cannot be fitted.
        DataError: scores are given, and no prompt has two rated completions of different length.
    """
    loss: Any = settings.loss
    if getattr(loss, "length_offset", None) != "fit":
        return settings, {}
    fit = next((fit for kind, fit in _FITS if isinstance(loss, kind)), None)
    if fit is None:
        raise SettingsError(
            f"the effect of length cannot be fitted for the loss {loss.kind}",
            remedy="write a number as loss.length_offset, or use bradley_terry or regression",
        )
    offset, notes = fit(loss, units)
    fitted = loss.model_copy(update={"length_offset": offset})
    return settings.model_copy(update={"loss": fitted}), notes


def fit_offset(length_delta: Numbers, wins: Numbers, weight: Numbers, margin: Numbers | float = 0.0) -> float:
    """Fit the coefficient of greatest likelihood, by Newton's method.

    Args:
        length_delta: [P], tokens of chosen minus tokens of rejected, in hundreds.
        wins: [P], probability that chosen is the better one.
        weight: [P], how much each pair counts, not negative.
        margin: [P], nats by which chosen has to be ahead.

    Returns:
        nats a hundred tokens, between -50 and 50; 0 where no pair differs in length.
    """
    # Without differences in length every offset fits equally well; zero changes nothing.
    if not np.any(length_delta * weight):
        return 0.0
    offset = 0.0
    for _ in range(_STEPS):
        p = 1 / (1 + np.exp(-np.clip(offset * length_delta - margin, -500, 500)))
        slope = float(np.sum(weight * length_delta * (wins - p)))
        # The second derivative of -log-likelihood; the constant keeps a flat likelihood from dividing by zero.
        curvature = float(np.sum(weight * length_delta**2 * p * (1 - p))) + 1e-9
        # A step of one nat at most: far from the optimum the quadratic model overshoots.
        step = float(np.clip(slope / curvature, -1.0, 1.0))
        offset = float(np.clip(offset + step, -_LARGEST, _LARGEST))
        if abs(step) < 1e-10:
            break
    return offset


def fit_slopes(excess_length: list[Numbers], labels: list[Numbers]) -> Numbers:
    """Fit the slopes of least squares of scores on lengths, each prompt about its own means.

    Args:
        excess_length: of every prompt, [T]: lengths of its texts in hundreds of tokens, about any mean.
        labels: of every prompt, [T, H]: scores, NaN where not rated.

    Returns:
        [H], points a hundred tokens; NaN for a head of which no prompt has two rated texts of different length.
    """
    along, across = np.zeros(labels[0].shape[1]), np.zeros(labels[0].shape[1])
    for lengths, scores in zip(excess_length, labels, strict=True):
        for head in range(scores.shape[1]):
            rated = np.isfinite(scores[:, head])
            if rated.any():
                # About the prompt's own means, so that hard prompts with long answers are no effect of length.
                apart = lengths[rated] - lengths[rated].mean()
                along[head] += float(apart @ (scores[rated, head] - scores[rated, head].mean()))
                across[head] += float(apart @ apart)
    return np.where(across > 0, along / np.where(across > 0, across, 1.0), np.nan)


def _fit_to_pairs(loss: BradleyTerry, units: Dataset) -> tuple[float, dict[str, float]]:
    length_delta, wins, weight, gap = (
        np.array([np.nan if number is None else number for unit in units[name] for number in unit], dtype=np.float64)
        for name in ("length_delta", "wins", "weight", "gap")
    )
    gap = loss.gap_scale * np.nan_to_num(gap)
    wins = np.nan_to_num(wins, nan=1.0) if loss.soft_labels else np.ones_like(length_delta)
    weight = np.nan_to_num(weight, nan=1.0) * (gap if loss.gap == "weight" else 1.0)
    # The offset is fitted to the labels that the loss will see, smoothing and soft labels included.
    smooth = loss.label_smoothing
    offset = fit_offset(
        length_delta, wins * (1 - smooth) + (1 - wins) * smooth, weight, gap if loss.gap == "margin" else 0.0
    )
    return offset, {"length_offset": offset}


def _fit_to_scores(loss: Regression, units: Dataset) -> tuple[tuple[float, ...], dict[str, float]]:
    excess_length = [np.array(unit, dtype=np.float64) for unit in units["excess_length"]]
    labels = [np.array(unit, dtype=np.float64).reshape(-1, len(loss.heads)) for unit in units["labels"]]
    slopes = fit_slopes(excess_length, labels)
    for head, slope in zip(loss.heads, slopes, strict=True):
        if np.isnan(slope):
            raise DataError(
                f"the effect of length on {head} cannot be fitted: no prompt has two rated completions of different "
                "length",
                remedy="write a number as loss.length_offset, or give several rated completions per prompt",
                place=Place(column="score" if head == "overall" else f"score.{head}"),
            )
    offsets = tuple(float(slope) for slope in slopes)
    names = ["length_offset"] if len(offsets) == 1 else [f"length_offset/{head}" for head in loss.heads]
    return offsets, dict(zip(names, offsets, strict=True))


_FITS: tuple[tuple[type, Callable[[Any, Any], tuple[Any, dict[str, float]]]], ...] = (
    (BradleyTerry, _fit_to_pairs),
    (Regression, _fit_to_scores),
)
