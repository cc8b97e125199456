"""What a forecast costs on machines."""

from __future__ import annotations

import pytest

from prefboost.costs import Machines, estimate_forecast, estimate_store, estimate_work
from prefboost.forecast import CallForecast, Forecast


def test_a_forecast_costs_its_flops() -> None:
    calls = CallForecast(calls=1000, prompt_tokens=10**6, likely_tokens=10**5, most_tokens=10**6)
    machines = Machines(parameters=1e9, gpus=1, teraflops=100.0, utilisation=0.5, writing=0.1, dollars=2.0, driver_us=0)
    estimate = estimate_forecast(Forecast(total=calls), machines)
    seconds = 2 * 1e9 * (1e6 / 0.5 + 1e5 / 0.1) / 1e14
    assert estimate["gpu_hours"] == pytest.approx(seconds / 3600, rel=1e-6)
    assert estimate["dollars"] == pytest.approx(2 * estimate["gpu_hours"])
    assert estimate["flops"] == pytest.approx(2 * 1e9 * (1e6 + 1e5))
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


def test_stages_cost_the_sum_of_what_each_costs_and_the_store_needs_no_machines() -> None:
    asking = Forecast(total=CallForecast(calls=1000, prompt_tokens=10**6, most_tokens=10**6))
    training = Forecast(tokens={"packed": 10**6})
    machines = Machines(parameters=1e9, dollars=2.0)
    whole = estimate_work([asking, training], machines)
    alone = [estimate_forecast(each, machines) for each in (asking, training)]
    assert whole == {name: pytest.approx(sum(each[name] for each in alone)) for name in alone[0]}
    assert estimate_work([asking, training], None) == {"store_bytes": estimate_store(asking)}
    assert estimate_store(asking) > 4 * 10**6 and estimate_work([], machines) == {}
