"""Shelves: a folder and an address do the same, and files are whole or absent."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from prefboost.shelf import Shelf, open_shelf


@pytest.fixture(params=["folder", "memory", "file"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Shelf:
    places = {"folder": tmp_path / "s", "memory": f"memory://{uuid.uuid4().hex}/s", "file": f"file://{tmp_path / 's'}"}
    return open_shelf(places[request.param])


def test_files_are_written_listed_read_and_removed(shelf: Shelf) -> None:
    assert shelf.list_files("rows") == {} and not shelf.exists("rows/a")
    shelf.write("rows/a", b"12345")
    shelf.write("rows/b", b"", durable=False)
    shelf.write("top", b"x")
    assert shelf.list_files("rows") == {"a": 5, "b": 0} and shelf.list_files("") == {"top": 1}
    assert shelf.read("rows/a") == b"12345" and shelf.read("rows/a", 3) == b"45"
    assert shelf.exists("rows/a")
    shelf.remove("rows/a")
    shelf.remove("rows/a")
    assert shelf.list_files("rows") == {"b": 0}
    with pytest.raises(FileNotFoundError):
        shelf.read("rows/a")


def test_files_are_put_copied_and_cleared_with_the_folders_that_they_need(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"12345")
    shelf.put(tmp_path / "whole", "rows/deep/a")
    shelf.copy("rows/deep/a", "other/b")
    shelf.copy("rows/deep/a", "other/b")
    assert shelf.read("rows/deep/a") == shelf.read("other/b") == b"12345" and shelf.exists("rows")
    shelf.write("top", b"1")
    assert shelf.find_files("") == {"rows/deep/a": 5, "other/b": 5, "top": 1}
    assert shelf.find_files("rows") == {"deep/a": 5} and shelf.find_files("none") == {}
    shelf.write("other/b", b"new")
    assert shelf.read("rows/deep/a") == b"12345", "a copy is a file of its own"
    shelf.clear()
    shelf.clear()
    assert shelf.list_files("other") == shelf.list_files("rows/deep") == {} and not shelf.exists("other/b")


def test_a_file_grows_and_gets_another_name_where_files_can(shelf: Shelf) -> None:
    if not shelf.appends:
        with pytest.raises(NotImplementedError):
            shelf.append("rows/a", b"1")
        return
    shelf.append("rows/a", b"12")
    shelf.append("rows/a", b"34")
    assert shelf.read("rows/a") == b"1234"
    shelf.rename("rows/a", "rows/c")
    assert shelf.list_files("rows") == {"c": 4}


def test_what_fails_in_the_middle_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, write = open_shelf(tmp_path), os.write
    shelf.append("rows/a", b"12")

    def write_half(number: int, data: bytes) -> int:
        if len(data) > 2:
            return write(number, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write_half)
    with pytest.raises(OSError, match="No space"):
        shelf.append("rows/a", b"3456")
    assert shelf.read("rows/a") == b"12"


def test_a_file_that_goes_while_the_folder_is_listed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, stat = open_shelf(tmp_path), os.stat
    shelf.write("rows/a", b"1")
    shelf.write("rows/b", b"1")

    def lose(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        if str(path).endswith("/a"):
            raise FileNotFoundError(path)
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", lose)
    assert shelf.list_files("rows") == {"b": 1}
