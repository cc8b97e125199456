"""A record names its trainings, and reads stages from its manifest."""

from __future__ import annotations

from prefboost.reporting.run.record import RunRecord


def test_a_run_of_one_training_bears_its_own_name() -> None:
    run = RunRecord("mine", {"stages": {"train": {"took_s": 1.0}}})
    assert run.label("") == "mine" and run.label("round 2") == "mine, round 2"
    assert list(run.stages) == ["train"] and not RunRecord("new", {}).stages
