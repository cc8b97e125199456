"""Rejects that wait on disk: they are read in the order in which they came, or in that of the records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import polars as pl

from prefboost.tables.frame_file import FrameFile
from prefboost.tables.rejects import REJECTS

__all__ = ["RejectFile", "StoredRejects"]

_BLOCK_RECORDS = 20_000
"""Records whose rejects are in memory at a time while they are put in order."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Rejects that follow each other.

    Args:
        file, number: where they lie.
        counts: of them by reason.
        blocks: of the records that they come from.
        ends: first and last record, where they are in the order of the records; a reject without a record has -1.
    """

    file: FrameFile
    number: int
    counts: Mapping[str, int]
    blocks: tuple[int, ...]
    ends: tuple[int, int] | None

    def read(self) -> pl.DataFrame:
        """Read the rejects."""
        return self.file.read(self.number)


class StoredRejects:
    """Rejects on disk, as a value.

    Args:
        parts: in order; `RejectFile` makes them.
    """

    def __init__(self, parts: Sequence[_Part] = ()) -> None:
        self._parts = tuple(parts)

    @classmethod
    def of(cls, rejects: pl.DataFrame | StoredRejects) -> StoredRejects:
        """Store a frame of rejects; those that are stored already stay as they are."""
        if isinstance(rejects, StoredRejects):
            return rejects
        file = RejectFile()
        file.add(rejects)
        return file.finish()

    def __add__(self, other: StoredRejects) -> StoredRejects:
        return StoredRejects((*self._parts, *other._parts))

    @cached_property
    def height(self) -> int:
        """Number of rejects."""
        return sum(self.count_reasons().values())

    def is_empty(self) -> bool:
        """Tell whether there are none."""
        return not self._parts

    def count_reasons(self) -> dict[str, int]:
        """Count rejects by their reason, in the order of the alphabet."""
        counts: Counter[str] = Counter()
        for part in self._parts:
            counts.update(part.counts)
        return dict(sorted(counts.items()))

    def read(self) -> pl.DataFrame:
        """Read all of them into memory."""
        return pl.concat([pl.DataFrame(schema=REJECTS), *self.read_frames()])

    def read_frames(self) -> Iterator[pl.DataFrame]:
        """Read them frame by frame; no frame where there are none."""
        for part in self._parts:
            yield part.read()

    def read_sorted(self) -> Iterator[pl.DataFrame]:
        """Read them in the order of the records, frame by frame; those of one record as they stand."""
        parts_of: dict[int, list[_Part]] = {}
        for part in self._parts:
            for block in part.blocks:
                parts_of.setdefault(block, []).append(part)
        for block, parts in sorted(parts_of.items()):
            frames = (
                part.read() if len(part.blocks) == 1 else part.read().filter(_block_of("row") == block)
                for part in parts
            )
            yield pl.concat(list(frames)).sort("row", maintain_order=True).rechunk()

    def sort_by_row(self) -> StoredRejects:
        """Put them in the order of the records, those of one record as they stand."""
        ends = [part.ends for part in self._parts]
        if all(before and after and before[1] <= after[0] for before, after in pairwise([(-1, -1), *ends])):
            return self
        file = RejectFile()
        for frame in self.read_sorted():
            file.add(frame)
        return file.finish()


class RejectFile:
    """Takes rejects, frame by frame, to disk.

    Args:
        reasons: the rejects are put in their order, those of other reasons behind, those of one reason as they came;
            None: as they came.
    """

    def __init__(self, reasons: Sequence[str] | None = None) -> None:
        self._reasons = reasons
        self._parts: list[list[_Part]] = [[] for _ in range(1 + len(reasons or ()))]
        self._file: FrameFile | None = None

    def add(self, rejects: pl.DataFrame) -> None:
        """Add rejects."""
        if rejects.is_empty():
            return
        rank = pl.lit(0)
        if self._reasons:
            last = len(self._reasons)
            rank = pl.col("reason").replace_strict(list(self._reasons), range(last), default=last)
        ranked = rejects.with_columns(_rank=rank, _block=_block_of("row"))
        for (place,), part in ranked.partition_by(
            "_rank", maintain_order=True, include_key=False, as_dict=True
        ).items():
            if part["row"].is_sorted():
                # Whoever reads a block in the order of the records reads nothing else then.
                for block in part.partition_by("_block", maintain_order=True):
                    self._append(block, self._parts[place], is_sorted=True)
            else:
                self._append(part, self._parts[place], is_sorted=False)

    def finish(self) -> StoredRejects:
        """Give the rejects that were added."""
        return StoredRejects([part for parts in self._parts for part in parts])

    def _append(self, rejects: pl.DataFrame, parts: list[_Part], *, is_sorted: bool) -> None:
        self._file = self._file or FrameFile()
        rows = rejects["row"].fill_null(-1)
        part = _Part(
            self._file,
            self._file.add(rejects.drop("_block")),
            dict(rejects["reason"].value_counts().iter_rows()),
            tuple(rejects["_block"].unique().sort()),
            (rows[0], rows[-1]) if is_sorted else None,
        )
        parts.append(part)


def _block_of(column: str) -> pl.Expr:
    # Rejects without a record come first, as they are sorted.
    return pl.col(column).fill_null(-1) // _BLOCK_RECORDS
