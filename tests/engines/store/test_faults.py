"""Every fault of a store has its own message, and none advises to throw answers away."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from prefboost.engines.store.faults import connect_read_only, store_fault

NUMBERS = {
    errno.ENOSPC: "is full", errno.EDQUOT: "is full", errno.EROFS: "cannot be written",
    errno.EACCES: "cannot be written",
    errno.ENOTDIR: "choose a writable folder",
}  # fmt: skip
NAMES = {
    "SQLITE_FULL": "is full", "SQLITE_READONLY_DIRECTORY": "cannot be written", "SQLITE_CORRUPT": "damaged",
    "SQLITE_CORRUPT_INDEX": "damaged", "SQLITE_BUSY": "another process", "SQLITE_IOERR_WRITE": "the disk that holds",
    "SQLITE_NOTADB": "keep this one", "SQLITE_ERROR": "keep this one",
}  # fmt: skip


def messages() -> list[tuple[str, str]]:
    found = [(str(store_fault(OSError(number, "why"), Path("s"))), told) for number, told in NUMBERS.items()]
    for name, told in NAMES.items():
        error = sqlite3.OperationalError("why")
        error.sqlite_errorname = name
        found.append((str(store_fault(error, Path("s"))), told))
    return found


@pytest.mark.parametrize(("message", "told"), messages())
def test_faults_are_told_apart_and_nothing_is_to_be_deleted(message: str, told: str) -> None:
    assert told in message
    assert "delete" not in message


def test_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    assert connect_read_only(file, "CREATE TABLE t (x)").execute("SELECT count(*) FROM t").fetchone()[0] == 0
    assert not file.exists()
    file.touch()
    assert connect_read_only(file, "CREATE TABLE t (x)").execute("SELECT count(*) FROM t").fetchone()[0] == 0
    assert file.stat().st_size == 0
