"""Bytes of plain and compressed files, in blocks of whole lines."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import UnreadableFile
from prefboost.sources.readers.text_files import BrokenRow, read_byte_chunks, read_csv_rows, read_line_blocks


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=9), st.integers(1, 30))
def test_blocks_hold_every_line_and_know_its_number(lines: list[bytes], size: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "text"
        path.write_bytes(b"start\n" + b"\n".join(lines))
        blocks = list(read_line_blocks(path, size))
    numbered = {block.line + i: line for block in blocks for i, line in enumerate(block.text.split(b"\n"))}
    assert [numbered.get(2 + i, b"") for i in range(len(lines))] == lines


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_compression_is_recognised_by_the_bytes_and_may_come_in_several_frames(pack, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "any"
    path.write_bytes(pack(b"one\n") + pack(b"two\n"))
    assert b"".join(read_byte_chunks(path)) == b"one\ntwo\n"


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "any"
    path.write_bytes(b"\xef\xbb\xbfx\n")
    assert [block.text for block in read_line_blocks(path, 10)] == [b"x\n"]


def test_a_cell_may_hold_line_breaks_and_bad_csv_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,"b\nc"\n')
    assert list(read_csv_rows(path, ",")) == [(2, ["a", "b\nc"])]
    path.write_text('a\n"b"c\n')
    with pytest.raises(UnreadableFile, match=r"a\.csv:2: not readable as CSV"):
        list(read_csv_rows(path, ","))


CELL = st.text(st.sampled_from('ab ,"\n'), max_size=6)


@given(st.lists(st.tuples(CELL, CELL, st.integers(0, 9)), min_size=1, max_size=8))
def test_well_formed_csv_is_read_alike_with_and_without_recovery(rows: list[tuple[str, str, int]]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.csv"
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerows([("prompt", "completion", "score"), *rows])
        strict = list(read_csv_rows(path, ","))
        assert strict == list(read_csv_rows(path, ",", recover=True))
        assert [cells for _, cells in strict[1:]] == [[first, second, str(third)] for first, second, third in rows]


STRAY = ['q3,"answer 3,3', 'q3,"ans"wer 3,3', '"q3" x,answer 3,3', 'q3,"say ""hi" there,3', 'q3,""answer"",3']


@pytest.mark.parametrize("bad", STRAY)
@pytest.mark.parametrize("at", [0, 3, 9])
@pytest.mark.parametrize("quoted", [False, True])
def test_a_stray_quote_costs_its_own_line(bad: str, at: int, quoted: bool, tmp_path: Path) -> None:
    rows = [f'q{n},"answer\n{n}",{n}' if quoted and n % 4 == 2 else f"q{n},answer {n},{n}" for n in range(10)]
    lines = [*rows[:at], bad, *rows[at:]]
    (tmp_path / "in.csv").write_text("\n".join(["prompt,completion,score", *lines]) + "\n")
    found = list(read_csv_rows(tmp_path / "in.csv", ",", recover=True))[1:]
    good = [cells for _, cells in found if not isinstance(cells, BrokenRow)]
    assert [each[0] for each in good] == [f"q{n}" for n in range(10)]
    broken = [cells for _, cells in found if isinstance(cells, BrokenRow)]
    assert [cells.why[2] for cells in broken] == [bad]


def test_pieces_of_a_broken_row_are_not_taken_for_rows(tmp_path: Path) -> None:
    bad = 'q3,"He said\n"hi, you, all" there\nbye, dear, reader",3'
    rows = [f"q{n},answer {n},{n}" for n in range(4)]
    (tmp_path / "in.csv").write_text("\n".join(["prompt,completion,score", *rows, bad, *rows]))
    found = list(read_csv_rows(tmp_path / "in.csv", ",", recover=True))[1:]
    assert [cells[0] for _, cells in found if not isinstance(cells, BrokenRow)] == ["q0", "q1", "q2", "q3"] * 2
    assert sum(isinstance(cells, BrokenRow) for _, cells in found) == len(bad.splitlines())


def test_a_broken_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('prompt,"comp"letion\na,b\n')
    with pytest.raises(UnreadableFile, match=r"in\.csv:1: not readable as CSV"):
        list(read_csv_rows(tmp_path / "in.csv", ",", recover=True))


def test_lines_that_end_in_cr_alone_are_named(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"prompt,score\rq,1\r")
    with pytest.raises(UnreadableFile, match=r"tr '\\r' '\\n' < FILE"):
        list(read_csv_rows(tmp_path / "in.csv", ","))
