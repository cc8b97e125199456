"""Tables: a declaration (columns, facts), a frame that conforms to it, its rejects and its history."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from prefboost.errors import BrokenFact, DataError, Place
from prefboost.tables.rejects import REJECTS, count_reasons, order_by_reason, reject_coded
from prefboost.tables.stored_rejects import StoredRejects

if TYPE_CHECKING:
    import datasets

__all__ = [
    "MESSAGE",
    "MESSAGES",
    "Column",
    "Fact",
    "Step",
    "Table",
    "TableSpec",
    "aspects_of",
    "check_fact",
    "conform",
    "refuse_other_tables",
    "sum_part_steps",
]

MESSAGE = pl.Struct({"role": pl.String, "content": pl.String, "extra": pl.String})
MESSAGES = pl.List(MESSAGE)

_FRAME_ROWS = 50_000
"""Rows that are shaped and written at once: a copy of them all would double what a table takes."""


@dataclass(frozen=True)
class Column:
    """A declared column. A name ending in ``.*`` declares a family, e.g. ``score.*`` (one column per aspect)."""

    name: str
    dtype: pl.DataType | type[pl.DataType]
    doc: str
    required: bool = True
    nullable: bool = False


@dataclass(frozen=True)
class Fact:
    """A sentence that is true of every row; ``holds`` builds the boolean expression (null counts as true)."""

    sentence: str
    holds: Callable[[Mapping[str, pl.DataType]], pl.Expr]


@dataclass(frozen=True)
class TableSpec:
    """The declaration of a table."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    facts: tuple[Fact, ...] = ()
    key: str = "row"


@dataclass(frozen=True)
class Step:
    """One line of a table's history: what was done, with which settings, how many rows went in, out and aside."""

    verb: str
    settings: Mapping[str, Any]
    rows_in: int
    rows_out: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A frame that conforms to its declaration, with the rejected rows and the steps that made it.

    Tables are values: every verb returns a new one. ``scales`` holds the fitted score scales by aspect ("" is the
    overall score), stored with the data and applied again at inference.
    """

    spec: TableSpec
    frame: pl.DataFrame
    rejects: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REJECTS))
    steps: tuple[Step, ...] = ()
    scales: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None

    def __len__(self) -> int:
        return self.frame.height

    def derive(
        self,
        spec: TableSpec,
        frame: pl.DataFrame,
        step: Step,
        *,
        rejects: pl.DataFrame | StoredRejects | None = None,
        scales: Mapping[str, Any] | None = None,
    ) -> Table:
        """Build the next table of the pipeline: check the frame against ``spec``, append rejects and history."""
        changes: dict[str, Any] = {"spec": spec, "frame": self.conform_rows(frame, spec), "steps": (*self.steps, step)}
        table = self.replace_fields(**changes, scales=self.scales if scales is None else scales)
        return table if rejects is None or rejects.is_empty() else table.add_rejects(rejects)

    def add_rejects(self, rejects: pl.DataFrame | StoredRejects) -> Table:
        """Append rejects to those that are there."""
        added = rejects.read() if isinstance(rejects, StoredRejects) else rejects
        return self.replace_fields(rejects=pl.concat([self.rejects, added]))

    def count_rejects(self) -> dict[str, int]:
        """Count rejects by their reason, in the order of the alphabet."""
        return count_reasons(self.rejects)

    def read_rejects(self) -> Iterator[pl.DataFrame]:
        """Read the rejects frame by frame."""
        yield self.rejects

    def read_sorted_rejects(self) -> Iterator[pl.DataFrame]:
        """Read the rejects in the order of the records, frame by frame; no frame where there are none."""
        if not self.rejects.is_empty():
            yield self.rejects.sort("row", maintain_order=True)

    def build_step(
        self,
        verb: str,
        settings: Mapping[str, Any],
        frame: pl.DataFrame,
        rejects: pl.DataFrame | StoredRejects,
        notes: Mapping[str, Any] | None = None,
    ) -> Step:
        """Build the line of history of a verb that turns this table's rows into those of ``frame`` and rejects."""
        counts = rejects.count_reasons() if isinstance(rejects, StoredRejects) else count_reasons(rejects)
        return Step(verb, settings, len(self), frame.height, counts, notes or {})

    @property
    def schema(self) -> pl.Schema:
        """Columns and their types."""
        return self.frame.schema

    def read_frames(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Read the rows, or some of their columns, frame by frame and in order; one frame at least."""
        frame = self.frame if columns is None else self.frame.select(columns)
        for start in range(0, max(1, len(self)), _FRAME_ROWS):
            yield frame[start : start + _FRAME_ROWS]

    def read_columns(self, columns: Sequence[str]) -> pl.DataFrame:
        """Read some columns of all rows, each in one piece, since sums of numbers depend on that."""
        return pl.concat(list(self.read_frames(columns))).rechunk()

    def take(self, rows: Sequence[int], columns: Sequence[str]) -> pl.DataFrame:
        """Take some columns of the rows at some places, in their order."""
        return self.frame.select(columns)[rows]

    def split(
        self, change: Callable[[pl.DataFrame, int], tuple[pl.DataFrame, pl.DataFrame]], reasons: Sequence[str]
    ) -> tuple[pl.DataFrame, pl.DataFrame | StoredRejects]:
        """Split the rows into those that stay, for `derive`, and rejects, reason by reason.

        Args:
            change: a pure function of a frame of rows and of the number of its first row, which returns both. The rows
                may have other columns then.
            reasons: of the rejects, in their order.
        """
        rows, rejects = change(self.frame, 0)
        return rows, order_by_reason(rejects, reasons)

    def split_coded(
        self, codes: pl.Series, reasons: Sequence[str], *, stage: str, value: pl.Expr | None = None
    ) -> tuple[pl.DataFrame, pl.DataFrame | StoredRejects]:
        """Split the rows by their codes into those that stay, for `derive`, and rejects, reason by reason.

        Args:
            codes: of each row, see `prefboost.tables.rejects.reject_coded`.
            reasons, stage, value: see there.
        """
        return reject_coded(self.frame, codes, reasons, stage=stage, path=self.path, value=value)

    def conform_rows(self, frame: pl.DataFrame, spec: TableSpec) -> pl.DataFrame:
        """Hold rows made of this table's to a declaration: see `conform`."""
        return conform(frame, spec, path=self.path)

    def replace_fields(self, **changes: Any) -> Table:
        """Return the table with other fields: `dataclasses.replace` for all kinds of tables."""
        return replace(self, **changes)

    def to_polars(self, format: str = "prefboost", *, drop_rejects: bool = False) -> pl.DataFrame:
        """Give the rows as a Polars frame: `prefboost.to_polars`."""
        frame: pl.DataFrame = _find_public("to_polars")(self, format, drop_rejects=drop_rejects)
        return frame

    def to_dataset(self, format: str = "prefboost", *, drop_rejects: bool = False) -> datasets.Dataset:
        """Give the rows as a data set of `datasets`: `prefboost.to_dataset`."""
        return _find_public("to_dataset")(self, format, drop_rejects=drop_rejects)

    def with_scales(self, scales: Mapping[str, Any]) -> Table:
        """Attach fitted score scales to the same rows."""
        return self.replace_fields(scales=dict(scales))


def sum_part_steps(steps: Sequence[Step]) -> Step:
    """Make one step of those of all parts of a table, whose counts add up."""
    notes: dict[str, Any] = {}
    rejected: Counter[str] = Counter()
    for step in steps:
        rejected.update(step.rejected)
        for name, value in step.notes.items():
            is_count = isinstance(value, int) and not isinstance(value, bool)
            notes[name] = notes.get(name, 0) + value if is_count else notes.get(name, value)
    return replace(
        steps[0],
        rows_in=sum(step.rows_in for step in steps),
        rows_out=sum(step.rows_out for step in steps),
        rejected=dict(sorted(rejected.items())),
        notes=notes,
    )


def _find_public(name: str) -> Any:
    """Find a public function of the package at call time: the shapes of trainers are a matter of a higher layer."""
    return getattr(importlib.import_module("prefboost"), name)


def aspects_of(columns: Mapping[str, Any] | list[str], family: str) -> list[str]:
    """List the aspects of a family, e.g. ``aspects_of(frame.schema, "score")`` -> ["helpfulness", ...], sorted."""
    prefix = family + "."
    return sorted(name.removeprefix(prefix) for name in columns if name.startswith(prefix))


def conform(frame: pl.DataFrame, spec: TableSpec, *, path: str | None = None) -> pl.DataFrame:
    """Check a frame against a declaration; returns it with declared columns first, in order, others dropped.

    Raises:
        DataError: a required column is missing, has another type, or has nulls where none may be.
        BrokenFact: a fact does not hold; names the fact, the first row and the count.
    """
    ordered: list[str] = []
    for column in spec.columns:
        if column.name.endswith(".*"):
            family = column.name.removesuffix(".*")
            names = [f"{family}.{aspect}" for aspect in aspects_of(frame.schema, family)]
        else:
            names = [column.name] if column.required or column.name in frame.columns else []
        for name in names:
            place = Place(path=path, column=name)
            if name not in frame.columns:
                raise DataError(
                    f"{spec.name} needs a column {name!r} ({column.doc}); found {', '.join(frame.columns) or 'none'}",
                    remedy="read the data with prefboost.read, or name the column in columns.*",
                    place=place,
                )
            if frame.schema[name] != column.dtype:
                raise DataError(
                    f"{spec.name}.{name} must be {column.dtype}, found {frame.schema[name]}",
                    remedy="read the data with prefboost.read, which casts and rejects bad rows",
                    place=place,
                )
            if not column.nullable and frame[name].null_count():
                raise DataError(
                    f"{spec.name}.{name} has {frame[name].null_count():,} nulls",
                    remedy="reject such rows with a reason before they become a table",
                    place=replace(place, row=int(frame[name].is_null().arg_true()[0])),
                )
        ordered += names
    declared = frame.select(ordered)
    for fact in spec.facts:
        check_fact(declared, fact, spec, path=path)
    return declared


def check_fact(frame: pl.DataFrame, fact: Fact, spec: TableSpec, *, path: str | None = None) -> None:
    """Hold a frame to one fact, which need not be among those of its declaration.

    Raises:
        BrokenFact: names the fact, the first row and the count.
    """
    broken = frame.select(fact.holds(frame.schema).fill_null(True).not_().arg_true()).to_series()
    if broken.is_empty():
        return
    first = int(broken[0])
    row = frame.row(first, named=True)
    example = {key: row[key] for key in row if key.startswith(("goal", "score", "pair_id", "prompt_id"))}
    raise BrokenFact(
        f"{broken.len():,} of {frame.height:,} rows break a fact of {spec.name}: {fact.sentence}; first: {example}",
        remedy="mend the data or the code that made it; `prefboost inspect FILE` shows such rows",
        place=Place(path=path, row=int(row.get("row") or first)),
    )


def refuse_other_tables(table: Table, *specs: TableSpec, task: str, remedy: str) -> None:
    """Refuse a table of a kind that a task does not take.

    Args:
        table: any table.
        specs: the kinds that the task takes.
        task: the beginning of the message, e.g. ``relabel``.
        remedy: what to do instead.

    Raises:
        DataError: the table is none of these.
    """
    if table.spec not in specs:
        raise DataError(
            f"{task} needs {' or '.join(spec.name for spec in specs)}, found {table.spec.name}",
            remedy=remedy,
            place=Place(path=table.path),
        )
