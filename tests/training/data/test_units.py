"""Steps hold whole units; orders and splits are seeded."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError, SettingsError
from prefboost.training.data.units import UnitSampler, plan_steps, split_by_prompt


@given(
    units=st.integers(1, 500),
    views=st.integers(1, 4),
    batch=st.integers(1, 300),
    micro=st.integers(1, 32),
    devices=st.integers(1, 4),
)
def test_micro_batches_fill_every_step_exactly(units: int, views: int, batch: int, micro: int, devices: int) -> None:
    try:
        plan = plan_steps(units, units * views, batch, micro, devices=devices)
    except SettingsError:
        assert min(units, max(1, round(batch / views))) < devices
        return
    assert plan.micro_batch * plan.accumulation * devices == plan.units_per_step <= max(units, devices)
    assert plan.micro_batch <= micro
    assert plan.steps == plan.steps_per_epoch >= math.ceil(units / plan.units_per_step)


def test_the_batch_size_counts_goal_pairs_not_units() -> None:
    assert plan_steps(1000, 2000, 128, 4).units_per_step == 64
    assert plan_steps(1000, 1000, 128, 4).units_per_step == 128


def test_epochs_multiply_steps() -> None:
    assert plan_steps(10, 20, 4, 1, epochs=2.5).steps == 13


def test_no_unit_and_too_many_devices_are_named() -> None:
    with pytest.raises(DataError, match="no pair"):
        plan_steps(0, 0, 8, 1)
    with pytest.raises(SettingsError, match="batch_size 2 is 1 units"):
        plan_steps(100, 200, 2, 1, devices=8)


def test_orders_are_permutations_that_change_with_epoch_and_seed() -> None:
    orders = [list(UnitSampler(50, seed, lambda epoch=epoch: epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == list(UnitSampler(50, 0, lambda: 0))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(0, 0.9), st.integers(0, 3))
def test_no_prompt_sits_on_both_sides_of_the_split(prompts: list[int], fraction: float, seed: int) -> None:
    units = pa.table({"prompt_id": [str(prompt) for prompt in prompts]})
    kept, aside = split_by_prompt(units, fraction, seed)
    sides = [set(side["prompt_id"].to_pylist()) if side is not None else set() for side in (kept, aside)]
    assert not sides[0] & sides[1] and sides[0]
    assert len(kept) + (0 if aside is None else len(aside)) == len(prompts)
    assert (aside is not None) == (fraction > 0 and len(set(prompts)) > 1)


def test_fewer_units_than_devices_are_refused_by_their_number() -> None:
    with pytest.raises(SettingsError, match="3 units to train on, fewer than the 4 devices") as caught:
        plan_steps(3, 6, 128, 1, devices=4)
    assert "batch_size" not in caught.value.remedy


def test_one_unit_is_one_step_whatever_the_batch_size() -> None:
    plan = plan_steps(1, 2, 128, 4)
    assert (plan.steps, plan.units_per_step, plan.accumulation) == (1, 1, 1)
