"""The journal: every finished completion is kept on disk, so that an interrupted run goes on where it stopped.

A line is one completion under a key of all that it depends on. Lines of a batch are written and synchronised together;
batches that are not complete in the journal are repeated whole, because the last bits of arithmetic may depend on which
rows are computed together. So the rows of a resumed run equal those of an uninterrupted one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from prefboost.engines.engine import Engine, Request, Result, Sampling
from prefboost.errors import Place, RunError

__all__ = ["Finished", "Journal", "Lines", "generate_stored", "key_of"]


@dataclass(frozen=True)
class Finished:
    """A batch that is done: (index of the request, completion), and whether an earlier call had done it."""

    results: list[tuple[int, Result]]
    stored: bool


def key_of(engine: Engine, request: Request, sampling: Sampling) -> str:
    """Name of a completion: a hash of model, rendered prompt, sampling and the sample's number."""
    parts = [engine.identity, engine.rendered(request), sampling.model_dump(), request.sample]
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


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


class Journal(Lines[Result]):
    """Completions on disk by key; see `Lines`."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, Result)


def generate_stored(
    engine: Engine, requests: Sequence[Request], sampling: Sampling, journal: Journal
) -> Iterator[Finished]:
    """Complete every request, batch by batch, taking from the journal what it holds.

    Args:
        engine: completes what is missing.
        requests: all of them, also those that are finished: batches are planned from the whole.
        sampling: for all requests.
        journal: open; finished batches are added to it.

    Yields:
        each batch, in the order of the plan.
    """
    keys = [key_of(engine, request, sampling) for request in requests]
    for batch in engine.plan(requests, sampling):
        stored = all(keys[index] in journal.known for index in batch)
        if not stored:
            wanted = [requests[index] for index in batch]
            written = [(keys[batch[at]], result) for at, result in engine.generate(wanted, sampling)]
            journal.add(written)
        yield Finished([(index, journal.known[keys[index]]) for index in batch], stored)
