"""A table whose rows lie in pieces, in order, so that it is written without anybody holding all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from prefboost.tables import Table

__all__ = ["PieceTable"]

Frames = Callable[[], Iterator[pl.DataFrame]]


@dataclass(frozen=True)
class PieceTable:
    """A table in pieces.

    Args:
        head: everything but rows and rejects: kind, columns, steps, scales, path.
        rows: how many.
        rejected: rejects by reason, in order of their first row.
        read_rows: reads the rows, frame by frame.
        read_rejects: reads the rejects in the order of the file, frame by frame.
    """

    head: Table
    rows: int
    rejected: Mapping[str, int]
    read_rows: Frames
    read_rejects: Frames

    @classmethod
    def of(cls, table: Table) -> PieceTable:
        """Take a table that this process holds as one piece."""
        rejects = table.rejects.sort("row", maintain_order=True)
        head = replace(table, frame=table.frame.clear(), rejects=table.rejects.clear())
        counts = Counter(rejects["reason"].to_list())
        return cls(head, len(table), counts, lambda: iter([table.frame]), lambda: iter([rejects]))

    def collect(self) -> Table:
        """Read all pieces into one table."""
        # In one piece, since the bytes of a file that Polars writes depend on that.
        frame, rejects = (pl.concat(list(read())).rechunk() for read in (self.read_rows, self.read_rejects))
        return replace(self.head, frame=frame, rejects=rejects)
