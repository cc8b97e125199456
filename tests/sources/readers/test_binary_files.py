"""Parquet and Arrow files as readers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError, UnreadableFile
from prefboost.sources.readers import binary_files
from prefboost.sources.readers.binary_files import ParquetReader, refuse_duplicates


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 20))
def test_slices_cover_every_row_once_and_are_no_longer_than_asked(heights: list[int], most: int) -> None:
    spans = binary_files._plan_slices(heights, most)
    assert [row for offset, length in spans for row in range(offset, offset + length)] == list(range(sum(heights)))
    assert all(0 < length <= most for _, length in spans)


def test_vast_row_groups_are_streamed_to_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    pl.DataFrame({"n": range(50)}).write_parquet(path)
    reader = ParquetReader(str(path))
    sliced = [frame for batch in reader.batches(None, 9) for frame in batch.frames]
    assert not reader.is_vast()
    monkeypatch.setattr(binary_files, "BATCH_BYTES", 8)
    assert reader.is_vast()
    streamed = [frame for batch in reader.batches(None, 9) for frame in batch.frames]
    assert pl.concat(streamed).equals(pl.concat(sliced))


def test_equal_names_and_damage_are_refused_by_name(tmp_path: Path) -> None:
    refuse_duplicates(["a", "b"], "rows")
    with pytest.raises(DataError, match="'a'"):
        refuse_duplicates(["a", "b", "a"], "rows")
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1 is all")
    with pytest.raises(UnreadableFile, match=r"rows\.parquet: not readable as Parquet"):
        ParquetReader(str(path)).plan_slices(None)
