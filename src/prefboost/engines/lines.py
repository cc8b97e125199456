"""Rows in a JSON-lines file by key: what is finished is kept, so that an interrupted run goes on where it stopped.

Lines that belong together are written and synchronised together. For one process that computes much between two writes;
what several processes share, or what can fail row by row, is kept in `prefboost.engines.store`.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from prefboost.errors import Place, RunError

__all__ = ["Lines"]

Row = TypeVar("Row")


class Lines(Generic[Row]):
    """Rows on disk by key. One process at a time.

    Args:
        path: a JSON-lines file; made where it is missing, and continued where it exists.
        row: the dataclass of a row; its fields are JSON values.

    Raises:
        RunError: another process is writing it, it cannot be written, or it is no journal.
    """

    def __init__(self, path: str | Path, row: Callable[..., Row]) -> None:
        self.path = Path(path)
        self.row = row
        self.known: dict[str, Row] = {}

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a+b")
        except OSError as error:
            raise RunError(
                f"the journal cannot be written: {error.strerror}",
                remedy="choose an output in a folder that you may write to",
                place=Place(str(self.path)),
            ) from error
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._stream.close()
            raise RunError(
                "another process is writing the same output",
                remedy="wait until it is done, or choose another output",
                place=Place(str(self.path)),
            ) from error
        self._read()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, finished: Sequence[tuple[str, Row]]) -> None:
        """Keep rows; they are on disk when this returns."""
        lines = "".join(json.dumps({"key": key, **vars(row)}) + "\n" for key, row in finished)
        self._stream.write(lines.encode("ascii"))
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.known.update(finished)

    def delete(self) -> None:
        """Remove the file, once all that it holds stands elsewhere."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> None:
        """Take up the complete lines; what a killed process left half written is cut off."""
        self._stream.seek(0)
        good = 0
        for number, line in enumerate(self._stream, 1):
            if not line.endswith(b"\n"):
                break
            self.known.update([self._parsed(line, number)])
            good += len(line)
        self._stream.truncate(good)

    def _parsed(self, line: bytes, number: int) -> tuple[str, Row]:
        try:
            record: dict[str, Any] = json.loads(line)
            return record.pop("key"), self.row(**record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._stream.close()
            raise RunError(
                "this is not a line of a journal",
                remedy="delete the file to begin anew",
                place=Place(str(self.path), line=number),
            ) from error
