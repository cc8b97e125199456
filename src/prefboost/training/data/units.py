"""Sampling of units: which units an optimiser step holds, in which order, and which prompts are set aside."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
from torch.utils.data import Sampler

from prefboost.devices.launch import read_world_size
from prefboost.errors import DataError, SettingsError
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward

__all__ = ["Data", "Plan", "UnitSampler", "lay_out_units", "plan_steps", "split_by_prompt", "wrap_units"]


UnitSettings = Train | TrainReward
"""Settings of any training on units."""


@dataclass(frozen=True)
class Data:
    """Units to train on and units to evaluate on, as datasets."""

    train: Dataset
    evaluation: Dataset | None = None


@dataclass(frozen=True)
class Plan:
    """The layout of units over optimiser steps.

    Args:
        units_per_step: units of one optimiser step, over all devices.
        micro_batch: units a device holds at once.
        accumulation: micro-batches a device adds up before it steps.
        steps: optimiser steps in all.
        steps_per_epoch: optimiser steps of one pass over the units.
    """

    units_per_step: int
    micro_batch: int
    accumulation: int
    steps: int
    steps_per_epoch: int


def plan_steps(
    units: int, views: int, batch_size: int, micro_batch: int, *, devices: int = 1, epochs: float = 1.0
) -> Plan:
    """Lay out units so that a step has about ``batch_size`` views and every micro-batch is full.

    Args:
        units: how many there are (>= 1).
        views: rows in them.
        batch_size: views per step, over all devices.
        micro_batch: most units a device may hold at once.
        devices: processes.
        epochs: passes.

    Raises:
        DataError: there are no units.
        SettingsError: fewer units, in all or per step, than devices.
    """
    if not units:
        raise DataError("there is no pair to train on", remedy="see the counts of dropped rows, or give more data")
    if units < devices:
        raise SettingsError(
            f"there are {units} units to train on, fewer than the {devices} devices",
            remedy="give more data, or use fewer devices",
        )
    # The batch size counts pairs; a step holds whole units, so their average number of views converts it.
    step_units = min(units, max(1, round(batch_size * units / views)))
    # Every device gets equally many units: an uneven share would wait for the largest one in every step.
    per_device = step_units // devices
    if not per_device:
        raise SettingsError(
            f"batch_size {batch_size} is {step_units} units, fewer than the {devices} devices",
            remedy="raise batch_size, or use fewer devices",
        )
    # The largest divisor, so that every micro-batch is full and weighs the same.
    micro = next(size for size in range(min(micro_batch, per_device), 0, -1) if per_device % size == 0)
    steps_per_epoch = math.ceil(math.ceil(units / (micro * devices)) / (per_device // micro))
    return Plan(
        units_per_step=per_device * devices,
        micro_batch=micro,
        accumulation=per_device // micro,
        steps=max(1, math.ceil(epochs * steps_per_epoch)),
        steps_per_epoch=steps_per_epoch,
    )


class UnitSampler(Sampler[int]):
    """A seeded permutation of the units, another one in each epoch, the same on every rank and after a resume.

    Args:
        units: how many there are.
        seed: of the permutations.
        epoch: says which pass is running (from 0).
    """

    def __init__(self, units: int, seed: int, epoch: Callable[[], int]) -> None:
        self.units = units
        self.seed = seed
        self.epoch = epoch

    def __len__(self) -> int:
        return self.units

    def __iter__(self) -> Iterator[int]:
        # Drawn from seed and pass alone, so that a resumed run sees the order it would have seen.
        order = np.random.default_rng([self.seed, self.epoch()]).permutation(self.units)
        return iter(order.tolist())


def lay_out_units(
    units: pa.Table,
    eval_units: pa.Table | None,
    settings: UnitSettings,
    count_items: Callable[[pa.Table], int],
    micro_batch: int,
) -> tuple[Data, Plan]:
    """Set the evaluation units aside where none are given, and lay the others out over steps.

    Args:
        units: to train on.
        eval_units: to evaluate on; None: ``settings.eval_fraction`` of the prompts of ``units``.
        settings: of the training.
        count_items: units -> the pairs (or texts) in them.
        micro_batch: most units that a device may hold at once.

    Raises:
        DataError: there are no units.
        SettingsError: fewer units per step than devices.
    """
    if eval_units is None and settings.eval_fraction:
        units, eval_units = split_by_prompt(units, settings.eval_fraction, settings.seed)
    plan = plan_steps(
        units.num_rows,
        count_items(units),
        settings.batch_size,
        micro_batch,
        devices=read_world_size(os.environ),
        epochs=settings.epochs,
    )
    evaluation = None if eval_units is None or not eval_units.num_rows else wrap_units(eval_units)
    return Data(wrap_units(units), evaluation), plan


def wrap_units(units: pa.Table) -> Dataset:
    """Wrap units as a data set, which would hash all of their content for a cache that training does not use."""
    return Dataset(units, fingerprint=generate_random_fingerprint())


def split_by_prompt(units: pa.Table, fraction: float, seed: int) -> tuple[pa.Table, pa.Table | None]:
    """Set a share of the prompts aside; all units of a prompt stay together.

    Returns:
        units to train on, units to evaluate on (None where ``fraction`` is 0 or there is but one prompt).
    """
    # Sorted, since the order of a set changes from process to process.
    prompts = sorted(set(units["prompt_id"].to_pylist()))
    if not fraction or len(prompts) < 2:
        return units, None
    # At least one prompt on each side, however small the share is.
    count = min(len(prompts) - 1, max(1, round(fraction * len(prompts))))
    # A stream of its own: the split stays the same when the order of training draws otherwise.
    chosen = np.random.default_rng([seed, 0xE7A1]).choice(len(prompts), size=count, replace=False)
    aside = {prompts[index] for index in chosen}
    mask = pa.array([prompt in aside for prompt in units["prompt_id"].to_pylist()])
    return units.filter(pc.invert(mask)), units.filter(mask)
