"""Whatever happens while a file is written, it holds the old content or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.atomic import replace_atomically, write_atomically


def test_an_atomic_write_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", "old")
    write_atomically(tmp_path / "f", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", b"old")
    with pytest.raises(OSError, match="disk"), replace_atomically(tmp_path / "f") as waiting:
        waiting.write_bytes(b"ne")
        raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    with replace_atomically(tmp_path / "a" / "b" / "f") as waiting:
        waiting.write_bytes(b"new")
    assert (tmp_path / "a" / "b" / "f").read_bytes() == b"new"


def test_half_a_surrogate_pair_is_written_as_its_escape_unless_said_otherwise(tmp_path: Path) -> None:
    write_atomically(tmp_path / "f", "a\ud83d")
    write_atomically(tmp_path / "g", "a\ud83d", errors="replace")
    assert (tmp_path / "f").read_text() == "a\\ud83d"
    assert (tmp_path / "g").read_text() == "a?"
