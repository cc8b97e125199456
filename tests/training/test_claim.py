"""A run folder belongs to one run."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from prefboost.errors import RunError
from prefboost.training.claim import BEGUN, LOG, MODEL, REPORT, begin, check_installed, last_metrics, run_day


def test_a_folder_is_claimed_once_and_refuses_another_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert begin(out, {"train": {"seed": 1}, "data": "a"}) is None
    assert begin(out, {"train": {"seed": 1}, "data": "a"}) is None
    with pytest.raises(RunError, match=r"other train \(seed: 1 -> 2\)"):
        begin(out, {"train": {"seed": 2}, "data": "a"})
    with pytest.raises(RunError, match="other data"):
        begin(out, {"train": {"seed": 1}, "data": "b"})


def test_a_run_keeps_the_day_on_which_it_began(tmp_path: Path) -> None:
    identity = {"train": {"seed": 1}, "data": "a"}
    assert run_day(tmp_path) is None
    begin(tmp_path, identity)
    assert run_day(tmp_path) == date.today().isoformat()
    begun = json.loads((tmp_path / BEGUN).read_text())
    (tmp_path / BEGUN).write_text(json.dumps({**begun, "day": "2001-02-03"}))
    assert begin(tmp_path, identity) is None and run_day(tmp_path) == "2001-02-03"


def test_a_finished_run_gives_its_report_back(tmp_path: Path) -> None:
    identity = {"train": {}, "data": "a"}
    begin(tmp_path, identity)
    (tmp_path / REPORT).write_text(json.dumps({"steps": 3}))
    assert begin(tmp_path, identity) is None
    (tmp_path / MODEL).mkdir()
    assert begin(tmp_path, identity) == {"steps": 3}


def test_the_last_number_of_every_metric_is_kept(tmp_path: Path) -> None:
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}, {"step": 2, "eval_loss": 1.5}]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert last_metrics(tmp_path) == {"loss": 1.0, "eval_loss": 1.5}


def test_what_training_needs_is_installed_here() -> None:
    check_installed()
