"""A source whose rows wait on disk is the source that is read at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from prefboost.sources.read import join_tables, read, read_batches
from prefboost.sources.stored import RowFile, read_stored
from prefboost.tables import StoredTable


@given(st.lists(st.lists(st.integers(0, 99), max_size=8), min_size=1, max_size=8))
@settings(deadline=None)
def test_rows_come_back_in_the_order_of_their_records(batches: list[list[int]]) -> None:
    frames = [
        pl.DataFrame({"row": rows, "at": [f"{number}/{at}" for at in range(len(rows))]}, schema_overrides={"row": int})
        for number, rows in enumerate(batches)
    ]
    frames = [frame.with_columns(pl.col("at").cast(pl.String)) for frame in frames]
    file = RowFile()
    for frame in frames:
        file.add(frame)
    expected = pl.concat(frames).sort("row", maintain_order=True)
    pieces = file.read_pieces()
    assert_frame_equal(pl.concat(list(pieces.read_frames())), expected)
    assert_frame_equal(pl.concat(list(pieces.read_frames(["at"]))), expected.select("at"))
    assert pieces.height == expected.height


def test_a_source_is_read_as_at_once_also_where_a_prompts_records_stand_apart(tmp_path: Path) -> None:
    records = [
        {"prompt": f"q{row % 37}", "completion": f"answer {row}", "score": row % 10 if row % 11 else None}
        for row in range(400)
    ]
    records[7]["completion"] = None
    path = tmp_path / "in.jsonl"
    pl.DataFrame(records).write_ndjson(path)
    stored = read_stored(path, rows=50)
    expected = join_tables(list(read_batches(path, rows=50)))
    assert isinstance(stored, StoredTable)
    assert_frame_equal(stored.frame, expected.frame)
    assert_frame_equal(stored.rejects, expected.rejects)
    assert len(stored.rejects) and stored.steps == expected.steps
    assert_frame_equal(expected.frame, read(path).frame)


def test_a_source_of_one_batch_stays_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "q", "completion": "a"}\n')
    table = read_stored(path)
    assert not isinstance(table, StoredTable) and len(table) == 1
