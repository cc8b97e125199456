"""The numerics of a training: resolved once, kept when a run resumes, and the token budget that fits them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TypeVar

from prefboost.devices import NumberSetting, choose_numbers, limit_threads, log_number_choice
from prefboost.training.claim import read_claim
from prefboost.training.optimisation import Optimisation

__all__ = ["budget_of", "resolve_precision"]

logger = logging.getLogger(__name__)

AnySettings = TypeVar("AnySettings", bound=Optimisation)

_PRECISIONS = {"bfloat16": "bf16", "float32": "fp32"}
_NUMBERS: dict[str, NumberSetting] = {"bf16": "bfloat16", "pure_bf16": "bfloat16", "fp32": "float32"}


def resolve_precision(settings: AnySettings, out: Path | None = None) -> AnySettings:
    """Replace ``precision: auto`` by what the training device computes natively, and say so once.

    A run that was begun on another machine keeps the numerics that it began with, since a step in other numerics would
    belong to neither run.

    Args:
        settings: of a training.
        out: its run folder; None where nothing is resumed.

    Returns:
        The settings with ``bf16``, ``pure_bf16`` or ``fp32``.
    """
    from prefboost.training.policy.model import choose_training_device

    device = choose_training_device(os.environ)
    if device.type == "cpu":
        limit_threads()
    if settings.precision != "auto":
        log_number_choice(choose_numbers(_NUMBERS[settings.precision], str(device)))
        return settings
    choice = choose_numbers("auto", str(device))
    # A resumed run keeps the numbers in which its first steps were taken, whatever this machine prefers.
    precision = _PRECISIONS[choice.name]
    begun = None if out is None else read_claim(out).get("train", {}).get("precision")
    if begun in _NUMBERS and begun != precision:
        logger.warning("numbers: %s, with which this run began (here it would be %s)", begun, choice.line[9:])
        precision = begun
    else:
        log_number_choice(choice)
    return settings.model_copy(update={"precision": precision})


def budget_of(settings: Optimisation, device: str) -> int:
    """Return the tokens of a micro-batch's stream: as set, or the default for the device's type and the precision."""
    from prefboost.training.engine.micro_batches import default_budget

    return settings.token_budget or default_budget(device, settings.precision)
