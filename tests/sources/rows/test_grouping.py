"""Prompts whose records stand apart come together, through memory or through files."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prefboost.sources import read, read_batches
from prefboost.sources.rows import grouping


def flat(path: Path, prompts: list[str]) -> Path:
    pl.DataFrame(
        {"prompt": prompts, "completion": [f"c{i}" for i in range(len(prompts))], "score": range(len(prompts))}
    ).write_parquet(path)
    return path


@pytest.mark.parametrize("spill_at", [1, 1 << 30])
def test_scattered_prompts_are_gathered_whether_or_not_they_are_written_to_disk(
    spill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "BATCH_BYTES", spill_at)
    path = flat(tmp_path / "d.parquet", [*"aabbccdd", *"adzz", *"bee"])
    batches = list(read_batches(path, rows=2))
    assert [set(batch.frame["prompt_id"]) for batch in batches]
    ids = [prompt for batch in batches for prompt in batch.frame["prompt_id"].unique()]
    assert len(ids) == len(set(ids)) == 6
    assert sorted(row for batch in batches for row in batch.frame["row"]) == list(range(15))


def test_prompts_that_stand_together_stream_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = flat(tmp_path / "d.parquet", [*"aaabbcdddd"])
    rows = [row for batch in read_batches(path, rows=2) for row in batch.frame["row"]]
    assert rows == list(range(10))


def test_ids_do_not_depend_on_the_size_of_batches(tmp_path: Path) -> None:
    path = flat(tmp_path / "d.parquet", [*"abcabcabd"])
    whole = read(path).frame.select("row", "completion_id")
    parts = pl.concat([batch.frame for batch in read_batches(path, rows=1)]).select("row", "completion_id").sort("row")
    assert whole.equals(parts)
