"""Formats are told by bytes, and a name that promises another format is named as what it is."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import polars as pl
import pytest

from prefboost.errors import DataError, UnreadableFile
from prefboost.sources import read
from prefboost.sources.readers.content import detect_delimiter, detect_ending, detect_magic_ending

ROWS = [{"prompt": f"q{n // 2}", "completion": f"a, {n}", "score": n} for n in range(4)]


def table(delimiter: str, quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([list(ROWS[0]), *(row.values() for row in ROWS)])
    return text.getvalue()


def write_all(folder: Path) -> dict[str, Path]:
    """One file of every content, under names without an ending; by the ending that fits."""
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(folder / "parquet")
    frame.write_ipc(folder / "arrow")
    frame.write_ipc_stream(folder / "stream")
    (folder / "jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (folder / "array").write_text(" \n" + json.dumps(ROWS, indent=1))
    (folder / "packed").write_bytes(gzip.compress((folder / "jsonl").read_bytes()))
    (folder / "csv").write_text(table(","))
    (folder / "tsv").write_text(table("\t"))
    return {path.name: path for path in folder.iterdir()}


def test_every_format_is_told_by_its_bytes(tmp_path: Path) -> None:
    expected = {"stream": ".arrow", "array": ".jsonl", "packed": ".jsonl"}
    for name, path in write_all(tmp_path).items():
        assert detect_ending(path) == expected.get(name, f".{name}")
        assert detect_magic_ending(path) == (detect_ending(path) if name in ("parquet", "arrow", "stream") else None)


@pytest.mark.parametrize("content", [b"just some words\nand more", b"\x00\x01\x02,\x03", b"PK\x03\x04zip,ped"])
def test_other_bytes_are_told_to_be_none_of_them(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    assert detect_ending(tmp_path / "x") is None


def test_the_fitting_name_is_in_the_error(tmp_path: Path) -> None:
    for name, path in write_all(tmp_path).items():
        with pytest.raises(UnreadableFile, match=rf"its bytes look like {detect_ending(path)}: name it so"):
            read(tmp_path / name)
    with pytest.raises(UnreadableFile, match=r"the bytes are those of a \.parquet file, not of \.jsonl"):
        read((tmp_path / "parquet").rename(tmp_path / "a.jsonl"))
    with pytest.raises(DataError, match=r"the first line is JSON, and no header of a table\n.*name the file \.jsonl"):
        read((tmp_path / "jsonl").rename(tmp_path / "a.csv"))
    with pytest.raises(DataError, match=r"its bytes look like \.csv: name the file so"):
        read((tmp_path / "csv").rename(tmp_path / "b.jsonl"))


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_tables_are_read_whatever_parts_their_cells(delimiter: str, quoting: int, tmp_path: Path) -> None:
    (tmp_path / "plain.csv").write_text(table(","))
    for name in ("a.csv", "a.tsv"):
        (tmp_path / name).write_text(table(delimiter, quoting))
        assert detect_delimiter(tmp_path / name, "," if name == "a.csv" else "\t") == delimiter
        assert read(tmp_path / name).frame.equals(read(tmp_path / "plain.csv").frame)
