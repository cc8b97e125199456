"""The cost model against the simulation, at small sizes."""

from __future__ import annotations

import statistics

import pytest
from scaling_simulation import compare, compare_trainings, list_points, simulate

from prefboost.costs import Fleet, Workload, estimate_cost


def test_the_model_is_near_the_simulation() -> None:
    table = compare(list_points(pairs=(10**6,)), most_parts=2000, runs=3)
    errors = sorted(abs(row["error"]) for row in table if "error" in row)
    assert len(errors) == 16
    assert statistics.median(errors) < 0.05 and errors[-1] < 0.4


def test_a_training_that_fails_and_resumes_takes_what_the_model_says() -> None:
    assert max(abs(row["error"]) for row in compare_trainings(200)) < 0.25


@pytest.mark.parametrize("nodes", [1, 4])
def test_parts_of_failed_machines_begin_anew_and_none_is_lost(nodes: int) -> None:
    work = Workload(400, 1.0, part_items=10)
    failing = Fleet(nodes, 2, mtbf_hours=0.1, repair_s=20.0)
    sound = Fleet(nodes, 2)
    assert simulate(work, sound) == pytest.approx(400 / (2 * nodes), rel=1e-9)
    times = [simulate(work, failing, seed) for seed in range(20)]
    assert min(times) >= simulate(work, sound) and max(times) > simulate(work, sound)
    assert estimate_cost(work, failing).seconds == pytest.approx(statistics.fmean(times), rel=0.2)
