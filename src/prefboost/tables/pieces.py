"""Tables whose rows are not in memory: pieces of them are read, one at a time, by whoever goes through the rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import accumulate
from typing import Any

import polars as pl

from prefboost.tables.frame_file import FrameFile
from prefboost.tables.rejects import reject_coded
from prefboost.tables.stored_rejects import RejectFile, StoredRejects
from prefboost.tables.table import Step, Table, TableSpec, conform

__all__ = ["RowPieces", "StoredTable"]

SplitRows = Callable[[pl.DataFrame, int], tuple[pl.DataFrame, pl.DataFrame]]
ReadPiece = Callable[[int, Sequence[str] | None], pl.DataFrame]


class RowPieces:
    """Rows in pieces, in order.

    Args:
        schema: of every piece.
        heights: rows of each piece.
        read_piece: reads some columns (None: all) of a piece by its number; the same rows every time.
    """

    def __init__(self, schema: pl.Schema, heights: Sequence[int], read_piece: ReadPiece) -> None:
        self.schema = schema
        self.read_piece = read_piece
        self._heights = tuple(heights)
        self._starts = [0, *accumulate(heights)]
        # Completions that are taken one after the other lie in one piece, which is decoded once for all of them.
        self._last: tuple[int, pl.DataFrame] | None = None

    @classmethod
    def of(cls, frame: pl.DataFrame) -> RowPieces:
        """Take a frame as one piece."""
        return cls(frame.schema, [frame.height], lambda _, columns: frame if columns is None else frame.select(columns))

    @classmethod
    def of_file(cls, file: FrameFile) -> RowPieces:
        """Take every frame of a file as a piece, in the order in which they were added."""
        return cls(file.schema, file.heights, file.read)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self._starts[-1]

    def read_frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Read the rows piece by piece; without rows one empty frame."""
        for number, height in enumerate(self._heights):
            if height:
                yield self.read_piece(number, columns)
        if not self.height:
            yield pl.DataFrame(schema=self.schema).select(pl.all() if columns is None else columns)

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """Take some rows, in their order."""
        by_piece: dict[int, list[int]] = {}
        for at, row in enumerate(rows):
            by_piece.setdefault(bisect_right(self._starts, row) - 1, []).append(at)
        parts = [pl.DataFrame(schema=self.schema).select(columns)]
        for number, places in by_piece.items():
            if self._last is None or self._last[0] != number:
                self._last = number, self.read_piece(number, None)
            start = self._starts[number]
            parts.append(self._last[1].select(columns)[[rows[at] - start for at in places]])
        order = pl.Series([at for places in by_piece.values() for at in places], dtype=pl.Int64)
        taken = pl.concat(parts)
        return taken if order.is_sorted() else taken[order.arg_sort()]

    def split(self, change: SplitRows, file: RejectFile) -> RowPieces:
        """Split every piece into rows that stay and rejects; the former are computed again whenever they are read.

        Args:
            change: a pure function of a piece and of the number of its first row.
            file: takes the rejects.
        """

        def read_changed(number: int, columns: Sequence[str] | None) -> pl.DataFrame:
            frame = change(self.read_piece(number, None), self._starts[number])[0]
            return frame if columns is None else frame.select(columns)

        schema, heights = None, []
        for number in range(len(self._heights)):
            frame, aside = change(self.read_piece(number, None), self._starts[number])
            schema = frame.schema
            heights.append(frame.height)
            file.add(aside)
        schema = change(pl.DataFrame(schema=self.schema), 0)[0].schema if schema is None else schema
        return RowPieces(schema, heights, read_changed)

    def filter(self, mask: pl.Series) -> RowPieces:
        """Keep the rows where ``mask`` [rows] holds; columns that are not asked for are not read for it."""

        def read_kept(number: int, columns: Sequence[str] | None) -> pl.DataFrame:
            return self.read_piece(number, columns).filter(parts[number])

        parts = [mask.slice(start, height) for start, height in zip(self._starts, self._heights, strict=False)]
        return RowPieces(self.schema, [int(part.sum()) for part in parts], read_kept)

    def select(self, columns: Sequence[str]) -> RowPieces:
        """Select columns of all rows, in this order."""

        def read_selected(number: int, some: Sequence[str] | None) -> pl.DataFrame:
            return self.read_piece(number, columns if some is None else some)

        return RowPieces(pl.Schema({name: self.schema[name] for name in columns}), self._heights, read_selected)


class StoredTable(Table):
    """A table whose rows lie in pieces, and its rejects on disk.

    Its ``frame`` and its ``rejects`` read all of them, each time: whoever can, goes piece by piece.

    Args:
        spec, rejects, steps, scales, path: see `Table`.
        frame: the rows.
    """

    pieces: RowPieces
    stored_rejects: StoredRejects

    def __init__(
        self,
        spec: TableSpec,
        frame: pl.DataFrame | RowPieces,
        rejects: pl.DataFrame | StoredRejects | None = None,
        steps: tuple[Step, ...] = (),
        scales: Mapping[str, Any] | None = None,
        path: str | None = None,
    ) -> None:
        # A frame comes from code that knows nothing of pieces.
        pieces = frame if isinstance(frame, RowPieces) else RowPieces.of(frame)
        values = {
            "spec": spec,
            "pieces": pieces,
            "stored_rejects": StoredRejects() if rejects is None else StoredRejects.of(rejects),
            "steps": steps,
            "scales": scales or {},
            "path": path,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return self.pieces.height

    def __repr__(self) -> str:
        # That of a dataclass would read all rows.
        steps = ", ".join(step.verb for step in self.steps)
        rejects = f"{self.stored_rejects.height:,} rejects"
        return (
            f"StoredTable({self.spec.name}, {len(self):,} rows on disk, {rejects}, steps {steps}, path {self.path!r})"
        )

    @property
    def frame(self) -> pl.DataFrame:
        """All rows, in one piece: the bytes of a file that Polars writes depend on that."""
        return pl.concat(list(self.pieces.read_frames())).rechunk()

    @property
    def rejects(self) -> pl.DataFrame:
        """All rejects."""
        return self.stored_rejects.read()

    def add_rejects(self, rejects: pl.DataFrame | StoredRejects) -> Table:
        """See `Table.add_rejects`."""
        return self.replace_fields(rejects=self.stored_rejects + StoredRejects.of(rejects))

    def count_rejects(self) -> dict[str, int]:
        """See `Table.count_rejects`."""
        return self.stored_rejects.count_reasons()

    def read_rejects(self) -> Iterator[pl.DataFrame]:
        """See `Table.read_rejects`."""
        return self.stored_rejects.read_frames()

    def read_sorted_rejects(self) -> Iterator[pl.DataFrame]:
        """See `Table.read_sorted_rejects`."""
        return self.stored_rejects.read_sorted()

    @property
    def schema(self) -> pl.Schema:
        """See `Table.schema`."""
        return self.pieces.schema

    def read_frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """See `Table.read_frames`."""
        return self.pieces.read_frames(columns)

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """See `Table.take`."""
        return self.pieces.take(rows, columns)

    def split(self, change: SplitRows, reasons: Sequence[str]) -> tuple[Any, StoredRejects]:
        """See `Table.split`."""
        file = RejectFile(reasons)
        return self.pieces.split(change, file), file.finish()

    def split_coded(
        self, codes: pl.Series, reasons: Sequence[str], *, stage: str, value: pl.Expr | None = None
    ) -> tuple[Any, StoredRejects]:
        """See `Table.split_coded`."""
        file, start = RejectFile(reasons), 0
        for frame in self.read_frames():
            here = codes.slice(start, frame.height)
            file.add(reject_coded(frame, here, reasons, stage=stage, path=self.path, value=value)[1])
            start += frame.height
        return self.pieces.filter(codes == 0), file.finish()

    def conform_rows(self, frame: Any, spec: TableSpec) -> Any:
        """See `Table.conform_rows`."""
        if isinstance(frame, pl.DataFrame):
            return super().conform_rows(frame, spec)
        columns = [conform(piece, spec, path=self.path).columns for piece in frame.read_frames()]
        return frame.select(columns[0])

    def replace_fields(self, **changes: Any) -> Table:
        """See `Table.replace_fields`."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in ("frame", "rejects")}
        return StoredTable(**{"frame": self.pieces, "rejects": self.stored_rejects, **values, **changes})
