"""Rows in a file of lines: nothing finished is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Result
from prefboost.engines.lines import Lines
from prefboost.errors import RunError

RESULT = Result("Yes \ud800 é", "stop", 3, 2)


def kept(path: Path) -> Lines[Result]:
    return Lines(path, Result)


def test_completions_survive_in_the_journal(tmp_path: Path) -> None:
    with kept(tmp_path / "out.journal") as journal:
        journal.add([("a", RESULT), ("b", Result("", "length", 1, 1))])
    with kept(tmp_path / "out.journal") as journal:
        assert journal.known == {"a": RESULT, "b": Result("", "length", 1, 1)}
        journal.delete()
    assert not (tmp_path / "out.journal").exists()


@given(st.integers(0, 200))
def test_wherever_writing_was_cut_off_complete_lines_are_kept_and_writing_goes_on(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "out.journal"
    with kept(path) as journal:
        journal.add([("a", RESULT), ("b", RESULT)])
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    with kept(path) as journal:
        assert len(journal.known) == whole[:cut].count(b"\n")
        journal.add([("c", RESULT)])
    with kept(path) as journal:
        assert list(journal.known)[-1] == "c"


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with (
        kept(tmp_path / "out.journal"),
        pytest.raises(RunError, match="another process"),
        kept(tmp_path / "out.journal"),
    ):
        pass


def test_a_file_that_is_no_journal_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "out.journal"
    path.write_text('{"key": "a"}\n')
    with pytest.raises(RunError, match=r"out.journal:1: this is not a line of a journal"), kept(path):
        pass
    with pytest.raises(RunError, match="cannot be written"), kept(tmp_path):
        pass
