"""Records as they stand in a file, before their columns have a meaning."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from prefboost.tables import REJECTS

__all__ = ["ROW", "RawBatch", "Reader", "line_rejects", "no_rejects", "numbered", "rejects_by_reason", "storable"]

ROW = "__row__"
"""Column of every raw frame: the record's number, from 0, counted on over the files of a collection."""


def numbered(frame: pl.DataFrame, first: int) -> pl.DataFrame:
    """The records with their numbers, from ``first``; a column that happens to have that name gives way."""
    return frame.drop(ROW, strict=False).with_row_index(ROW, first).with_columns(pl.col(ROW).cast(pl.Int64))


def no_rejects() -> pl.DataFrame:
    """An empty rejects frame."""
    return pl.DataFrame(schema=REJECTS)


@dataclass(frozen=True)
class RawBatch:
    """Some records: frames (more than one where types vary from record to record) and the lines set aside."""

    frames: tuple[pl.DataFrame, ...]
    rejects: pl.DataFrame = field(default_factory=no_rejects)

    @property
    def records(self) -> int:
        """How many records the batch holds, those set aside included."""
        return sum(frame.height for frame in self.frames) + self.rejects.height


class Reader(Protocol):
    """Where raw records come from."""

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        ...

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """The records from the start; at most ``rows`` a batch, only ``columns`` where the format can leave others."""
        ...


def line_rejects(bad: Sequence[tuple[int, int, str, str]], reason: str, path: str) -> pl.DataFrame:
    """Rejects of lines. ``bad`` holds row, line number, what is wrong, and the line's beginning."""
    return pl.DataFrame(
        [
            {
                "stage": "read",
                "path": path,
                "row": row,
                "id": None,
                "reason": reason,
                "found": storable(f"{path}:{line}: {wrong}: {shown}"),
            }
            for row, line, wrong, shown in bad
        ],
        schema=REJECTS,
    )


def rejects_by_reason(bad: Sequence[tuple[int, int, str, str, str]], path: str) -> pl.DataFrame:
    """Rejects of lines, in order. ``bad`` holds row, line number, reason, what is wrong, and the line's beginning."""
    reasons = dict.fromkeys(reason for _, _, reason, _, _ in bad)
    parts = [
        line_rejects([(row, line, wrong, shown) for row, line, why, wrong, shown in bad if why == reason], reason, path)
        for reason in reasons
    ]
    return pl.concat([no_rejects(), *parts]).sort("row")


def storable(text: str) -> str:
    """The text with lone surrogates replaced by NUL, which is refused later: no frame can hold them."""
    return text if text.isascii() else text.encode("utf-8", "replace_surrogates").decode("utf-8")


def _surrogate_to_nul(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        return "\0" * (error.end - error.start), error.end
    raise error


codecs.register_error("replace_surrogates", _surrogate_to_nul)
