"""The cost model: bounds, monotony, and what a dry run estimates. Its error is in test_scaling_simulation.py."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.costs import (
    Fleet,
    Workload,
    estimate_cost,
    estimate_training_seconds,
    wait_for_last,
)

WORK = st.builds(
    Workload,
    items=st.integers(1, 10**9),
    item_s=st.floats(1e-6, 10),
    part_items=st.integers(1, 100_000),
    part_s=st.floats(0, 10),
    driver_s=st.floats(0, 1),
    most_per_s=st.sampled_from([math.inf, 10.0, 1e5]),
)
FLEETS = st.builds(
    Fleet,
    nodes=st.integers(1, 1000),
    slots=st.integers(1, 16),
    mtbf_hours=st.sampled_from([math.inf, 1e4]),
    spread=st.floats(0, 1),
)


@given(WORK, FLEETS)
def test_no_work_is_faster_than_its_items_alone_on_all_machines(work: Workload, fleet: Fleet) -> None:
    cost = estimate_cost(work, fleet)
    assert 0 < cost.efficiency <= 1 + 1e-6
    assert cost.seconds >= work.items / work.most_per_s and cost.seconds >= work.parts * work.driver_s


@given(WORK, FLEETS)
def test_failures_never_save_time(work: Workload, fleet: Fleet) -> None:
    sound, failing = (estimate_cost(work, replace(fleet, mtbf_hours=hours)).seconds for hours in (math.inf, 1e4))
    assert failing >= sound * (1 - 1e-6)


def test_what_limits_the_work_is_named() -> None:
    work = Workload(10**6, 0.01, part_items=1000)
    many = Fleet(nodes=1000, slots=8)
    assert estimate_cost(work, Fleet()).bound == "machines"
    assert estimate_cost(work, many).bound == "parts"
    assert estimate_cost(replace(work, driver_s=1.0), many).bound == "driver"
    assert estimate_cost(replace(work, most_per_s=100.0), many).bound == "server"


def test_the_wait_for_the_last_part_is_the_largest_remaining_time_of_log_normal_parts() -> None:
    draw, spread, workers = random.Random(0), 0.5, 40
    lengths = [draw.lognormvariate(-(spread**2) / 2, spread) for _ in range(20_000)]
    # A part that is met at a random time is met in proportion to its length, at a random point of it.
    largest = [
        max(length * draw.random() for length in draw.choices(lengths, weights=lengths, k=workers)) for _ in range(2000)
    ]
    assert wait_for_last(1.0, spread, workers) == pytest.approx(sum(largest) / len(largest), rel=0.1)


def test_a_training_saves_more_often_where_machines_fail_more_often() -> None:
    few, many = (estimate_training_seconds(1e5, Fleet(nodes, 8, 1000.0), save_s=60.0) for nodes in (10, 1000))
    assert 1e5 < few[0] < many[0] and few[1] > many[1]
    assert estimate_training_seconds(1e5, Fleet(10), save_s=60.0)[0] == 1e5
