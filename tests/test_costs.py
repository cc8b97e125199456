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
    Machines,
    RowMachines,
    Workload,
    estimate_cost,
    estimate_forecast,
    estimate_rows,
    estimate_training_seconds,
    wait_for_last,
)
from prefboost.forecast import CallForecast, Forecast

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


def test_a_forecast_costs_its_flops() -> None:
    calls = CallForecast(calls=1000, prompt_tokens=10**6, likely_tokens=10**5, most_tokens=10**6)
    machines = Machines(parameters=1e9, gpus=1, teraflops=100.0, utilisation=0.5, writing=0.1, dollars=2.0, driver_us=0)
    estimate = estimate_forecast(Forecast(total=calls), machines)
    seconds = 2 * 1e9 * (1e6 / 0.5 + 1e5 / 0.1) / 1e14
    assert estimate["gpu_hours"] == pytest.approx(seconds / 3600, rel=1e-6)
    assert estimate["dollars"] == pytest.approx(2 * estimate["gpu_hours"])
    slow = estimate_forecast(Forecast(total=calls), machines.model_copy(update={"calls_per_s": 1.0}))
    assert slow["hours"] == pytest.approx(1000 / 3600)
    through_one = estimate_forecast(Forecast(total=calls), machines.model_copy(update={"driver_us": 1e6, "nodes": 50}))
    assert 1000 / 3600 <= through_one["hours"] < 1001 / 3600, "more machines do not help the process that asks"
    training = estimate_forecast(Forecast(tokens={"packed": 10**6}), machines)
    assert training["gpu_hours"] == pytest.approx(6 * 1e9 * 1e6 / 0.5 / 1e14 / 3600)


def test_the_process_that_asks_takes_longer_where_a_cluster_answers() -> None:
    forecast, machines = Forecast(total=CallForecast(calls=10**6)), Machines(parameters=1.0)
    here, there = (estimate_forecast(forecast, machines, executor)["hours"] for executor in ("local", "ray"))
    assert here == pytest.approx(60 / 3600, rel=1e-3) and there == pytest.approx(83 / 3600, rel=1e-3)
    named = machines.model_copy(update={"driver_us": 10.0})
    assert estimate_forecast(forecast, named, "ray")["hours"] == pytest.approx(10 / 3600, rel=1e-3)


@given(records=st.integers(1, 10**9), part=st.integers(1, 10**6), nodes=st.integers(1, 1000), shards=st.integers(2, 99))
def test_rows_of_augment_cost_no_less_than_their_time_and_shards_no_less_than_reading(
    records: int, part: int, nodes: int, shards: int
) -> None:
    machines = RowMachines(nodes=nodes, cores=4, row_us=20.0, read_us=5.0, part_ms=0.0, dollars=2.0)
    alone = estimate_rows(records, part, machines)
    assert alone["hours"] == pytest.approx(records * 20e-6 / 3600) == alone["machine_hours"]
    many = estimate_rows(records, part, machines, executor="ray")
    assert many["hours"] >= 0.99 * alone["hours"] / (4 * nodes) and many["shuffled_bytes"] > 0
    assert many["dollars"] == pytest.approx(2 * many["machine_hours"]) == pytest.approx(2 * nodes * many["hours"])
    divided = estimate_rows(records, part, machines, shards=shards)
    least = max(records * 5e-6, records * 20e-6 / (4 * nodes)) / 3600
    assert least * 0.99 <= divided["hours"] and not divided["shuffled_bytes"]
