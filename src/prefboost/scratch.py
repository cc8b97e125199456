"""Files for what waits on disk while a command works.

They lie on the file system of the output, which has room for as many rows; where there is no output on this machine,
in the folder for temporary files (``TMPDIR``), which on some machines is in memory. They have no name: the system
removes them with their process, however it ends, so that a killed one leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from prefboost.addresses import find_address
from prefboost.errors import Place, RunError

__all__ = ["ScratchFile", "find_scratch_folder", "place_scratch"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FOLDER: ContextVar[Path | None] = ContextVar("folder of scratch files", default=None)


class ScratchFile:
    """A file of this process, to whose end bytes are appended and of which parts are read.

    Raises:
        RunError: from every method, where the disk is full; it names the folder.
    """

    def __init__(self) -> None:
        import tempfile  # draws random names: start-up without it is faster by some milliseconds

        chosen = _FOLDER.get()
        self.size = 0
        self._folder, self._is_default = chosen or Path(tempfile.gettempdir()), chosen is None
        self._is_at_end = True
        with self._explain_full_disk():
            # Hidden where the file system knows no files without a name, and it is removed after it is made.
            self._file = tempfile.TemporaryFile(dir=self._folder, prefix=".prefboost-")  # noqa: SIM115 - stays open

    def append(self, content: bytes | memoryview) -> int:
        """Append bytes; return the place of the first one."""
        place = self.size
        with self._explain_full_disk():
            if not self._is_at_end:
                self._file.seek(place)
                self._is_at_end = True
            self._file.write(content)
        self.size += len(content)
        return place

    def read(self, place: int, length: int) -> bytes:
        """Read as many bytes from a place."""
        self._is_at_end = False
        # What was appended last is written before it is read.
        with self._explain_full_disk():
            self._file.seek(place)
            return self._file.read(length)

    @contextmanager
    def _explain_full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                error.filename = error.filename or str(self._folder)
                raise
            instead = "set TMPDIR to a folder of a larger one" if self._is_default else "name an output on a larger one"
            raise RunError(
                "the disk is full: rows that wait there while the command works do not fit",
                remedy=f"free some space on the disk of this folder, or {instead}, and run the same command again",
                place=Place(str(self._folder)),
            ) from error


@contextmanager
def place_scratch(out: str | Path | None) -> Iterator[None]:
    """Let scratch files that are opened in the block lie on the file system of an output.

    Args:
        out: the output, which need not exist; None, an address or ``-``: they lie in the folder for temporary files.
    """
    before = _FOLDER.set(find_scratch_folder(out))
    try:
        yield
    finally:
        _FOLDER.reset(before)


def find_scratch_folder(out: str | Path | None) -> Path | None:
    """Find the nearest folder around an output that exists and may be written; None: there is none."""
    if out is None or str(out) == "-" or find_address(out) is not None:
        return None
    path = Path(out).expanduser()
    target = path.resolve() if path.is_symlink() else path.absolute()
    folder = next((each for each in target.parents if each.is_dir()), None)
    return folder if folder is not None and os.access(folder, os.W_OK | os.X_OK) else None
