"""Locks between processes: a file that one process holds, and that the system frees however that process ends."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LockHeldError", "hold_lock", "is_lock_held"]

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that have no locks."""


class LockHeldError(Exception):
    """Another process holds a lock; the message is what that process wrote into the file, or empty."""


@contextlib.contextmanager
def hold_lock(path: Path, *, wait: bool = True, note: str = "", optional: bool = False) -> Iterator[None]:
    """Hold a file, which is made where it is missing and stays.

    Args:
        path: the file; folders on the way are made.
        wait: wait until nobody else holds it.
        note: text that tells others who holds it.
        optional: go on without a lock where the file system has none.

    Raises:
        LockHeldError: another process, or another block of this one, holds it and ``wait`` is false.
        OSError: the file cannot be opened for writing.
    """
    from filelock import FileLock, Timeout

    # A file system without locks is an error here: the library's other kind of lock outlives a killed process.
    # Not bound to the thread: a store may be opened in one thread and closed in another.
    lock = FileLock(path, thread_local=False, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise LockHeldError(_read_note(path)) from None
    except OSError as error:
        if not (optional and error.errno in _NO_LOCKS):
            raise
        yield
        return
    try:
        if note:
            _write_note(path, note)
        yield
    finally:
        lock.release()


def is_lock_held(path: Path) -> bool:
    """Tell whether a process holds a file; the file of one that died is removed."""
    if not path.exists():
        return False
    try:
        with hold_lock(path, wait=False), contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    except (LockHeldError, OSError):
        return True
    return False


def _read_note(path: Path) -> str:
    # Windows keeps others from reading what is locked.
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return ""


def _write_note(path: Path, note: str) -> None:
    # The disk may be full. Not through a buffer, which would be written again when the file is closed.
    with contextlib.suppress(OSError):
        stream = os.open(path, os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(stream, note.encode())
        finally:
            os.close(stream)
