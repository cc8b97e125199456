"""Faults of a store's file: each has its message, and none costs an answer that was paid for."""

from __future__ import annotations

import errno
import shutil
import sqlite3
import tempfile
from pathlib import Path

from prefboost.errors import Place, RunError

__all__ = ["connect_read_only", "refuse_old_answers", "segment_fault", "store_fault"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SERVER_ROWS = "SELECT count(*) FROM rows WHERE kind IN ('generate', 'logprobs') AND asked LIKE '%\"engine\": \"http%'"


def store_fault(error: OSError | sqlite3.Error, path: str | Path) -> RunError:
    """Describe an error of a store: what happened, what is safe, and what to do.

    Args:
        error: of SQLite or of the system.
        path: the store's folder or address.
    """
    number = getattr(error, "errno", None)
    name = getattr(error, "sqlite_errorname", "") or ""
    place = Place(str(path))
    # By number and name, never by words, which the system translates.
    if number in _FULL or name == "SQLITE_FULL":
        return RunError(
            "the disk that holds the store is full",
            remedy="free some space and run the same command again: every stored answer is safe",
            place=place,
        )
    if number in _FORBIDDEN or name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return RunError(
            f"the store cannot be written ({error})",
            remedy="name a writable folder with --store, or copy the store there; --dry-run and --partial "
            "need no write permission",
            place=place,
        )
    if name.startswith("SQLITE_CORRUPT"):
        return RunError(
            f"the store's file is damaged ({error}); answers in its intact pages can be recovered",
            remedy=f"keep it. Recover them with `sqlite3 {path}/rows.sqlite .recover | sqlite3 rescued.sqlite`, move "
            "the damaged files elsewhere and rescued.sqlite to rows.sqlite in their place, and run the same command "
            "again: it asks only for the lost answers",
            place=place,
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return RunError(
            "another process has held the store for a minute",
            remedy="wait until it ends, or look for a process that hangs, and run the same command again",
            place=place,
        )
    if name.startswith("SQLITE_IOERR"):
        return RunError(
            f"the disk that holds the store fails ({error}, {name})",
            remedy="check whether it is full or missing, and run the same command again: every stored answer is safe",
            place=place,
        )
    return RunError(
        f"the store cannot be used: {error}",
        remedy="choose a writable folder with --store, and keep this one: it may hold answers that were paid for",
        place=place,
    )


def segment_fault(error: Exception, address: str) -> RunError:
    """Describe an error of a store of segments, whose disk or server may be anywhere."""
    if isinstance(error, sqlite3.Error):
        # SQLite holds nothing here but this process's own index.
        return RunError(
            f"the index of the store cannot be kept in {tempfile.gettempdir()}: {error}",
            remedy="free some space there, or set TMPDIR to a folder on this machine's disk; every stored answer is "
            "safe",
            place=Place(address),
        )
    if isinstance(error, OSError) and error.errno is not None:
        return store_fault(error, address)
    return RunError(
        f"the store cannot be used: {str(error)[:300] or type(error).__name__}",
        remedy="check address and login (s3:// needs s3fs, gs:// gcsfs, hf:// huggingface-hub), and run the same "
        "command again: every stored answer is safe",
        place=Place(address),
    )


def refuse_old_answers(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file of version 1 that holds answers of servers; what this machine computed is taken over.

    Keys of version 1 left out settings that change what a server is asked (extra, leave_out, max_tokens_field,
    choices), so that nobody can tell which question such an answer belongs to.

    Raises:
        RunError: it holds some.
    """
    count = connection.execute(_SERVER_ROWS).fetchone()[0]
    if count:
        raise RunError(
            f"an older version of prefboost stored {count:,} answers of servers here without the settings of their "
            "requests (extra, leave_out, max_tokens_field, choices), so none can be matched with "
            "the present requests",
            remedy="keep the folder and name another one with --store, or write its content with the older version and "
            "--partial",
            place=Place(str(path)),
        )


def connect_read_only(file: Path, tables: str) -> sqlite3.Connection:
    """Connect without changing anything beside the file, also where the folder is read-only or the disk full.

    Args:
        file: of SQLite; where it is missing the store is empty.
        tables: SQL that makes the tables of an empty store.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    if not file.exists() or not file.stat().st_size:
        empty = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        empty.row_factory = sqlite3.Row
        empty.executescript(tables)
        return empty
    try:
        return _connect(file, "mode=ro")
    except sqlite3.OperationalError:
        log = file.with_name(f"{file.name}-wal")
        if not log.exists() or not log.stat().st_size:
            # Without a log the file is whole, and immutable needs no index beside it, which cannot be made here.
            return _connect(file, "mode=ro&immutable=1")
    # What a killed process left in the log is read with an index beside it, which cannot be made in this folder.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        shutil.copyfile(log, copy.with_name(log.name))
        source = _connect(copy, "mode=rw")
        whole = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        source.backup(whole)
        source.close()
    whole.row_factory = sqlite3.Row
    return whole


def _connect(file: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{file.absolute().as_uri()}?{mode}", uri=True, timeout=60.0, isolation_level=None, check_same_thread=False
    )
    connection.row_factory = sqlite3.Row
    try:
        # sqlite3.connect() opens no file yet: the first statement does.
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
