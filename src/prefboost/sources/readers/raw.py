"""Records as they stand in a file, before their columns have a meaning."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from prefboost.tables import REJECTS

__all__ = [
    "BATCH_BYTES",
    "MOST_ROWS",
    "ROW",
    "RawBatch",
    "Reader",
    "WrappedReader",
    "build_no_rejects",
    "add_row_numbers",
    "build_line_rejects",
    "make_storable",
]

BATCH_BYTES = 64 << 20
"""Size of the uncompressed data in one batch, about."""

MOST_ROWS = 200_000
"""Records in one batch at most, where the user names no number."""

ROW = "__row__"
"""Column of every raw frame: the record's number, from 0, counted on over the files of a collection."""


def add_row_numbers(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """Number the records from ``first``; a column that happens to have that name gives way."""
    return frame.drop(ROW, strict=False).with_row_index(ROW, first).with_columns(pl.col(ROW).cast(pl.Int64))


def build_no_rejects() -> pl.DataFrame:
    """Build an empty rejects frame."""
    return pl.DataFrame(schema=REJECTS)


@dataclass(frozen=True)
class RawBatch:
    """Some records: frames (more than one where types vary from record to record) and the rejected lines."""

    frames: tuple[pl.DataFrame, ...]
    rejects: pl.DataFrame = field(default_factory=build_no_rejects)

    @property
    def records(self) -> int:
        """How many records the batch holds, rejected ones included."""
        return sum(frame.height for frame in self.frames) + self.rejects.height


class Reader(Protocol):
    """A place that raw records come from."""

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        ...

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """Yield the records; at most ``rows`` per batch, only ``columns`` where the format can leave others."""
        ...


@dataclass(frozen=True)
class WrappedReader:
    """The base of readers that change the records of another reader on their way.

    Args:
        reader: of records as they stand.
    """

    reader: Reader

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        return self.reader.path


def build_line_rejects(bad: Sequence[tuple[int, int, str, str, str]], path: str) -> pl.DataFrame:
    """Build the rejects of lines, in order.

    Args:
        bad: row, line number, reason, what is wrong, and the line's beginning, for each line.
        path: the file.
    """
    records = [
        {
            "stage": "read",
            "path": path,
            "row": row,
            "id": None,
            "reason": reason,
            "found": make_storable(f"{path}:{line}: {wrong}: {beginning}"),
        }
        for row, line, reason, wrong, beginning in bad
    ]
    return pl.DataFrame(records, schema=REJECTS).sort("row")


def make_storable(text: str) -> str:
    """Replace lone surrogates, which no frame can hold, by NUL, which is refused later."""
    return text if text.isascii() else text.encode("utf-8", "replace_surrogates").decode("utf-8")


def _surrogate_to_nul(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        return "\0" * (error.end - error.start), error.end
    raise error


codecs.register_error("replace_surrogates", _surrogate_to_nul)
