"""What plain runs unlearned is measured where their folders hold all that it takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.scoring.conftest import policies  # noqa: F401 - a fixture

from prefboost.runs.report.diagnoses import diagnose_trainings, draw_trained_rows
from prefboost.runs.report.report import report


@pytest.mark.torch
def test_a_run_is_measured_once_and_its_page_shows_it(
    run_folder: Callable[..., Path],
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    policy, start = policies
    run = run_folder(settings={"train": {"model": str(start)}})
    assert diagnose_trainings([run]) == [], "there is no model"
    shutil.copytree(policy, run / "model")
    before = report([run], tmp_path / "before.html")
    assert before.missing["Unlearning by score"] == f"prefboost report {run} --diagnose"
    assert diagnose_trainings([run, tmp_path / "nothing"]) == [run / "unlearning.json"]
    record = json.loads((run / "unlearning.json").read_text())
    # Six pairs, both views: every completion under its own score.
    assert record["completions"] == 12 and {each["side"] for each in record["models"][0]["buckets"]} == {"completion"}
    assert diagnose_trainings([run]) == []
    assert "Unlearning by score" in report([run], tmp_path / "after.html").parts


def test_pairs_without_goals_stay_pairs_and_a_draw_is_the_same_every_time(goal_table: Callable[..., Any]) -> None:
    frame = goal_table(8).frame
    plain = frame.with_columns(goal=pl.lit(None, pl.Float64))
    assert draw_trained_rows(plain, 5).frame.equals(draw_trained_rows(plain, 5).frame)
    assert len(draw_trained_rows(plain, 100)) == 8 and "chosen" in draw_trained_rows(plain, 5).frame.columns
    few, all_rows = draw_trained_rows(frame, 5), draw_trained_rows(frame, 100)
    assert len(few) == 5 and len(all_rows) == 16
    assert set(few.frame["completion_id"]) < set(all_rows.frame["completion_id"])
    # Under its own score every completion won.
    assert set(all_rows.frame["score"]) == {7.0, 3.0}
