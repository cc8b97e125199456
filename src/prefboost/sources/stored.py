"""`read_stored`: a source of any length as a table whose rows wait on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from prefboost.sources.columns import Columns
from prefboost.sources.read import join_tables, read_batches
from prefboost.tables import FrameFile, RejectFile, RowPieces, StoredTable, Table

__all__ = ["RowFile", "read_stored"]

NO_COLUMNS = Columns()

_PIECES_OF_A_BATCH = 16
"""Pieces that the first batch is cut into: small enough to be read again for a few of their rows."""


class RowFile:
    """Rows on disk, in pieces of so many records, each in the order of the records.

    Rows may come in any order; those of one record stay in theirs.

    Args:
        records: of a piece; 0: a sixteenth of those of the first batch.
    """

    def __init__(self, records: int = 0) -> None:
        self._schema: pl.Schema | None = None
        self._records = records
        # Piece -> numbers of its parts, in the order in which they came.
        self._parts: dict[int, list[int]] = {}
        self._heights: dict[int, int] = {}
        self._frames = FrameFile()

    def add(self, rows: pl.DataFrame) -> None:
        """Add rows of a table."""
        self._schema = self._schema or rows.schema
        if rows.is_empty():
            return
        self._records = self._records or max(1, rows["row"].n_unique() // _PIECES_OF_A_BATCH)
        numbered = rows.with_columns(_piece=pl.col("row") // self._records)
        parts = numbered.partition_by("_piece", maintain_order=True, include_key=False, as_dict=True)
        for (number,), part in parts.items():
            self._parts.setdefault(number, []).append(self._frames.add(part))
            self._heights[number] = self._heights.get(number, 0) + part.height

    def add_table(self, table: Table) -> Table:
        """Add the rows of a table; return it without them."""
        self.add(table.frame)
        return replace(table, frame=table.frame.clear())

    def read_pieces(self) -> RowPieces:
        """Give the rows, in the order of their records."""
        numbers = sorted(self._parts)
        heights = [self._heights[number] for number in numbers]
        return RowPieces(self._schema or pl.Schema(), heights, lambda at, columns: self._read(numbers[at], columns))

    def _read(self, number: int, columns: Sequence[str] | None) -> pl.DataFrame:
        # The rows are put in order by their records.
        names = None if columns is None else list(dict.fromkeys(["row", *columns]))
        parts = [self._frames.read(each, names) for each in self._parts[number]]
        # In one piece, as it is read from a file and not from the parts of one.
        frame = pl.concat(parts).sort("row", maintain_order=True).rechunk()
        return frame if columns is None else frame.select(columns)


def read_stored(source: Any, *, columns: Columns = NO_COLUMNS, rows: int | None = None) -> Table:
    """Read a whole source as `read` does; of more than one batch rows and rejects wait on disk.

    Args:
        source, columns, raises: see `prefboost.sources.read.read`.
        rows: records per batch, about; see `prefboost.sources.read.read_batches`.
    """
    tables = read_batches(source, columns=columns, rows=rows)
    begin = [table for table in (next(tables, None), next(tables, None)) if table is not None]
    if len(begin) < 2:
        return join_tables(begin)
    pieces, aside, heads = RowFile(), RejectFile(), []

    def store(table: Table) -> Table:
        aside.add(table.rejects.sort("row", maintain_order=True))
        return pieces.add_table(replace(table, rejects=table.rejects.clear()))

    while begin:
        # Those that begin are let go of, and then one batch is in memory at a time.
        heads.append(store(begin.pop(0)))
    heads += map(store, tables)
    head, rejects = join_tables(heads), aside.finish().sort_by_row()
    return StoredTable(head.spec, pieces.read_pieces(), rejects, head.steps, head.scales, head.path)
