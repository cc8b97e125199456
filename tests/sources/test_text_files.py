"""Bytes of plain and compressed files, in blocks of whole lines."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import UnreadableFile
from prefboost.sources.text_files import byte_chunks, csv_rows, line_blocks


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=9), st.integers(1, 30))
def test_blocks_hold_every_line_and_know_its_number(lines: list[bytes], size: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(b"start\n" + b"\n".join(lines))
        blocks = list(line_blocks(path, size))
    numbered = {block.line + i: line for block in blocks for i, line in enumerate(block.text.split(b"\n"))}
    assert [numbered.get(2 + i, b"") for i in range(len(lines))] == lines


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_compression_is_recognised_by_the_bytes_and_may_come_in_several_frames(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "any"
    path.write_bytes(pack(b"one\n") + pack(b"two\n"))
    assert b"".join(byte_chunks(path)) == b"one\ntwo\n"


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"\xef\xbb\xbfx\n")
    assert [block.text for block in line_blocks(path, 10)] == [b"x\n"]


def test_a_cell_may_hold_line_breaks_and_bad_csv_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,"b\nc"\n')
    assert list(csv_rows(path, ",")) == [(2, ["a", "b\nc"])]
    path.write_text('a\n"b"c\n')
    with pytest.raises(UnreadableFile, match=r"a\.csv:2: not readable as CSV"):
        list(csv_rows(path, ","))
