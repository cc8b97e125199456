"""Readers: every format again and again from the start, in batches, with row numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from prefboost.errors import DataError
from prefboost.sources import read
from prefboost.sources.readers import binary_files
from prefboost.sources.readers.files import open_file_reader, open_path_reader
from prefboost.sources.readers.raw import ROW

FRAME = pl.DataFrame({"a": [f"t{i}" for i in range(10)], "b": range(10)})


@pytest.mark.parametrize("rows", [None, 1, 3, 100])
def test_parquet_is_sliced_without_losing_a_row(rows: int | None, tmp_path: Path) -> None:
    FRAME.write_parquet(tmp_path / "d.parquet", row_group_size=4)
    reader = open_file_reader(tmp_path / "d.parquet")
    for _ in range(2):
        frames = [frame for batch in reader.batches(None, rows) for frame in batch.frames]
        assert pl.concat(frames)[ROW].to_list() == list(range(10))
        assert max(frame.height for frame in frames) <= (rows or 10)
    assert next(reader.batches(["a"], rows)).frames[0].columns == [ROW, "a"]


def test_vast_row_groups_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary_files, "BATCH_BYTES", 8)
    FRAME.write_parquet(tmp_path / "d.parquet")
    frames = [frame for batch in open_file_reader(tmp_path / "d.parquet").batches(None, 4) for frame in batch.frames]
    assert len(frames) > 2
    assert pl.concat(frames).drop(ROW).equals(FRAME)


def test_arrow_streams_are_read_like_arrow_files(tmp_path: Path) -> None:
    FRAME.write_ipc_stream(tmp_path / "d.arrow")
    assert next(open_file_reader(tmp_path / "d.arrow").batches(None, None)).frames[0].drop(ROW).equals(FRAME)


def test_csv_rows_with_other_numbers_of_cells_are_set_aside_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b\n1,2\n3\n4,5\n")
    batch = next(open_file_reader(tmp_path / "d.csv").batches(None, None))
    assert batch.frames[0][ROW].to_list() == [0, 2]
    assert batch.rejects["row"].to_list() == [1]
    assert ":3: 1 cells where the header has 2" in batch.rejects["found"][0]


def test_files_of_several_formats_in_one_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    FRAME.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"several formats: \.csv, \.parquet"):
        open_path_reader(str(tmp_path))


def test_a_folder_without_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no data files among 1 files"):
        open_path_reader(str(tmp_path))


def test_a_column_that_only_some_files_have_stops_nothing(tmp_path: Path) -> None:
    for number, columns in enumerate((["prompt", "chosen", "rejected", "pair_id"], ["prompt", "chosen", "rejected"])):
        pl.DataFrame([{name: f"{name} {number} {row}" for name in columns} for row in range(3)]).write_parquet(
            tmp_path / f"{number}.parquet"
        )
    table = read(tmp_path)
    assert len(table) == 6
    assert table.frame["pair_id"].is_unique().all()
