"""`select` and the data stages of recipes by many tasks give the bytes of one process, also after any of them has died."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.runs.ray.rows import SpreadHere, build_rows, read_output
from tests.runs.ray.test_data import Dying

from prefboost.errors import MissingScores, RunError, SettingsError
from prefboost.preferences.accept import BestOfN, RejectionSampling, ScoreAtLeast
from prefboost.preferences.select import Select
from prefboost.runs.ray.data_verbs import select_on
from prefboost.runs.select import SelectCompletions, select_completions
from prefboost.sources import read


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scored completions of prompts that stand apart, twice, some without a score, some that were cut, and a broken line."""
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    records: list[dict[str, Any]] = build_rows(60, 15, ids=True) * 2
    for number, record in enumerate(records):
        record = {**record, "finish_reason": "length" if number % 7 == 0 else "stop"}
        records[number] = {**record, "score": None} if number % 11 == 0 else record
    lines = [json.dumps(record) for record in records]
    path.write_text("\n".join([*lines[:9], "{broken", *lines[9:]]) + "\n")
    return path


CHOICES = {
    "best": SelectCompletions(strategy=BestOfN()),
    "sampled, prompts once": SelectCompletions(
        strategy=RejectionSampling(beta=3, count=2), select=Select(dedupe="prompt"), format="prefboost"
    ),
    "rows once, within limits": SelectCompletions(
        strategy=ScoreAtLeast(score=3), select=Select(max_completion_words=2, min_completion_chars=9), cut="keep"
    ),
}


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize("case", CHOICES)
def test_every_file_that_select_writes_has_the_same_bytes(case: str, ending: str, rows: Path, tmp_path: Path) -> None:
    how = CHOICES[case]
    (tmp_path / "here").mkdir()
    select_completions(read(str(rows)), how, tmp_path / "here" / f"out.{ending}")
    for size in (7, 1000):
        select_on(SpreadHere(), str(rows), how, tmp_path / str(size) / f"out.{ending}", rows=size)
        assert read_output(tmp_path / str(size)) == read_output(tmp_path / "here")
