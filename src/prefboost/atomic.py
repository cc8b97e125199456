"""Files that appear whole: after a crash the old content stands there or the new one, never a part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["replace_atomically", "write_atomically"]


@contextlib.contextmanager
def replace_atomically(path: str | Path) -> Iterator[Path]:
    """Give a place beside a file to write its new content to; leaving the block puts it in the file's stead.

    Folders on the way are made. An exception in the block leaves the old file as it was and nothing beside it.

    Args:
        path: the file to make or replace.

    Yields:
        a path in the same folder, of this process alone; the block writes it.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    waiting = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        yield waiting
        with waiting.open("rb+") as written:
            os.fsync(written.fileno())
        waiting.replace(target)
    finally:
        waiting.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: str | bytes, *, errors: str = "backslashreplace") -> None:
    """Write a whole file in one piece.

    Args:
        path: the file to make or replace.
        content: bytes, or text that is written as UTF-8.
        errors: what becomes of characters that UTF-8 has no bytes for (halves of surrogate pairs, as models write
            them), see `str.encode`.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    with replace_atomically(path) as waiting:
        waiting.write_bytes(content.encode("utf-8", errors) if isinstance(content, str) else content)
