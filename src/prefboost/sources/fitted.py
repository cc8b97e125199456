"""A reader whose later records fit the layout that was guessed from the first ones, or are rejects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from prefboost.errors import DataError
from prefboost.sources.columns import KNOWN_ASPECTS, NAMES, Columns, expr_at, plain_name
from prefboost.sources.layouts import COMPLETION_LIKE, Layout, guess
from prefboost.sources.raw import ROW, RawBatch, Reader
from prefboost.sources.unmapped import is_given, question_like
from prefboost.tables import REJECTS

__all__ = ["FittedReader", "columns_seen", "fields_of", "with_later_parts"]

KEY = "__given__"

LATER = ("system", "history", "tools")
"""Parts of the question that a record may have although the first records have none."""

IDLE = ("source", "model", "prompt_id", "completion_id", "pair_id")
"""Parts that later records do without where the first ones have none: they only name things."""

INSIDE = ("completion", "score", "rank", "model", "completion_id", "finish_reason")
"""Parts that stand inside the completions of nested records, under names that cannot be changed there."""

WORDS = frozenset(
    {word for names in NAMES.values() for name in names for word in name.split("_")} - {"id", "name", "text"}
    | {"overall", "preference", "label", "labels", "winner", "margin", "goal"}
)
"""Words in the names of columns that can play a part."""


def with_later_parts(layout: Layout) -> Layout:
    """The layout with columns for parts of the question that only later records may have; no file names them so."""
    absent = {part: f"__{part}__" for part in LATER if part not in layout.parts}
    further = layout.further or (("__further__",) if "prompt" in layout.parts else ())
    return replace(layout, parts={**layout.parts, **absent}, further=further)


def columns_seen(sample: pl.DataFrame, layout: Layout) -> frozenset[str]:
    """The columns of the first records that play a part or hold anything: others may come to mean something later."""
    held = [name for name in sample.columns if sample[name].null_count() < sample.height]
    return frozenset((*held, *layout.heads(sample.columns)))


def fields_of(frame: pl.DataFrame, name: str | None) -> frozenset[str]:
    """The fields of the structs in a column of lists; none where it holds something else."""
    dtype: Any = frame.schema.get(name or "")
    structs = isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)
    return frozenset(item.name for item in dtype.inner.fields) if structs else frozenset()


def _matters(name: str) -> bool:
    """Whether a column of this name can play a part in any layout."""
    plain = plain_name(name)
    words = set(re.split(r"[_.\d]+", plain))
    known = bool(words & WORDS) or plain in KNOWN_ASPECTS
    return known or question_like(name) or COMPLETION_LIKE.match(plain) is not None


@dataclass(frozen=True)
class FittedReader:
    """A reader of records that all have one layout.

    Records with columns that the first ones do not have are read by a layout of their own, guessed from the columns
    that hold something in them, and their columns renamed to those of ``layout``. What cannot be brought into it is a
    reject.

    Args:
        reader: of records as they stand.
        columns: what the user named.
        known: names of the columns of the first records.
        layout: from `with_later_parts`.
        fields: of the completions of the first records, where they are structs (`fields_of`).
    """

    reader: Reader
    columns: Columns
    known: frozenset[str]
    layout: Layout
    fields: frozenset[str] = frozenset()
    plans: dict[Any, Layout | str] = field(default_factory=dict, compare=False)

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        return self.reader.path

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.files.Reader`."""
        for batch in self.reader.batches(columns, rows):
            frames: list[pl.DataFrame] = []
            rejects = [batch.rejects]
            for frame in batch.frames:
                for part, fault in self._fit(frame):
                    frames += [part] if fault is None else []
                    rejects += [] if fault is None else [self._rejects(part, fault)]
            yield RawBatch(tuple(frames), pl.concat(rejects))

    def _fit(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str | None]]:
        """The parts of a frame, each with what is wrong with its records."""
        for part, fault in self._of_new_fields(frame):
            yield part, fault
            frame = frame.filter(~pl.col(ROW).is_in(part[ROW].implode()))
        new = [name for name in frame.columns if name not in self.known and name != ROW and self._may_play(name)]
        if not new:
            yield frame, None
            return
        given = {name: is_given(pl.col(name), dtype) for name, dtype in frame.schema.items() if name != ROW}
        odd = frame.select(pl.any_horizontal(given[name] for name in new)).to_series()
        if not odd.all():
            yield frame.filter(~odd).drop(new), None
        if odd.any():
            later = frame.filter(odd)
            marks = pl.concat_str(pl.when(mark).then(pl.lit("1")).otherwise(pl.lit("0")) for mark in given.values())
            for (key,), part in later.with_columns(marks.alias(KEY)).partition_by(KEY, as_dict=True).items():
                present = [name for name, mark in zip(given, str(key), strict=True) if mark == "1"]
                yield self._renamed(part, present, [name for name in given if name in self.known or name in present])

    def _of_new_fields(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str]]:
        """Records whose completions hold fields that those of the first records lack, and that would mean something."""
        name = self.layout.parts.get("completions", "")
        new = sorted(fields_of(frame, name) - self.fields) if self.fields else []
        if not new:
            return
        dtype: Any = frame.schema[name]
        types = {item.name: item.dtype for item in dtype.inner.fields}
        given = [
            pl.col(name).list.eval(is_given(pl.element().struct.field(each), types[each])).list.any() for each in new
        ]
        marks = pl.concat_str(pl.when(mark.fill_null(False)).then(pl.lit("1")).otherwise(pl.lit("0")) for mark in given)
        for (key,), part in frame.with_columns(marks.alias(KEY)).partition_by(KEY, as_dict=True).items():
            held = [each for each, mark in zip(new, str(key), strict=True) if mark == "1"]
            kept = [each for each in types if each in self.fields or each in held]
            if not held:
                continue
            slim = pl.col(name).list.eval(pl.struct(pl.element().struct.field(*kept)))
            plan = self._plan(part.drop(KEY).with_columns(slim))
            if isinstance(plan, str):
                yield part.drop(KEY), plan

    def _may_play(self, name: str) -> bool:
        if name in self.columns.ignore:
            return False
        return _matters(name) or name in (
            value for value in self.columns.model_dump().values() if isinstance(value, str)
        )

    def _renamed(self, frame: pl.DataFrame, *choices: list[str]) -> tuple[pl.DataFrame, str | None]:
        """The records with the columns of the layout, or what is wrong with them.

        Args:
            frame: records that hold something in the same columns.
            choices: the columns to guess from, the first of which a layout fits counts.
        """
        plans = [self._plan(frame.select(ROW, *names)) for names in choices]
        plan = next((plan for plan in plans if not isinstance(plan, str)), plans[0])
        if isinstance(plan, str):
            return frame.drop(KEY), plan
        moved = {self.layout.parts[part]: path for part, path in plan.parts.items() if part in self.layout.parts}
        moved.pop(self.layout.parts.get("reads", ""), None)
        if plan.shape == "nested":
            moved = {to: path for to, path in moved.items() if to not in [plan.parts.get(part) for part in INSIDE]}
        moved |= dict(zip(self.layout.further, plan.further, strict=False))
        if plan.shape != "nested":
            moved |= {self.layout.aspects[name]: path for name, path in plan.aspects.items()}
        moved |= {self.layout.aspects_rejected[name]: path for name, path in plan.aspects_rejected.items()}
        moved = {to: path for to, path in moved.items() if to != path}
        kept = [name for name in frame.columns if name not in (KEY, *moved, *moved.values())]
        return frame.select(*kept, *(expr_at(frame.schema, path).alias(to) for to, path in moved.items())), None

    def _plan(self, frame: pl.DataFrame) -> Layout | str:
        """The layout of records with these columns, or why they do not fit; it depends on names and types alone."""
        key = tuple(sorted((name, str(dtype)) for name, dtype in frame.schema.items()))
        if key not in self.plans:
            try:
                self.plans[key] = self._held_against(guess(frame, self.columns, self.path))
            except DataError as error:
                self.plans[key] = f"the record has other columns than the first ones, and {error.found}"
        return self.plans[key]

    def _held_against(self, own: Layout) -> Layout | str:
        if own.shape != self.layout.shape:
            return f"the record has another shape ({own.shape}) than the first ones ({self.layout.shape})"
        lacking = [part for part in own.parts if part not in (*self.layout.parts, *IDLE)]
        lacking += [name for name in own.aspects if name not in self.layout.aspects]
        lacking += ["prompt"] if len(own.further) > len(self.layout.further) else []
        if lacking:
            return f"the record has a part that the first ones lack: {lacking[0]}"
        inside = [part for part in ("reads", *INSIDE) if own.shape == "nested" or part == "reads"]
        changed = [part for part in inside if part in own.parts and own.parts[part] != self.layout.parts.get(part)]
        if own.shape == "nested":
            changed += [name for name, path in own.aspects.items() if path != self.layout.aspects[name]]
        if changed:
            return f"the record's completions hold the {changed[0]} elsewhere than those of the first ones"
        return own

    def _rejects(self, frame: pl.DataFrame, fault: str) -> pl.DataFrame:
        found = f"columns: {', '.join(name for name in frame.columns if name != ROW)}"[:200]
        record = {"stage": "read", "path": self.path, "id": None, "reason": fault, "found": found}
        return pl.DataFrame([{**record, "row": row} for row in frame[ROW]], schema=REJECTS)
