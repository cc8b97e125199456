"""A reader whose later records fit the layout that was guessed from the first ones, or are rejects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from prefboost.errors import DataError
from prefboost.sources.columns import KNOWN_ASPECTS, NAMES, Columns, expr_at, plain_name
from prefboost.sources.layouts.layout import COMPLETION_LIKE, Layout, guess
from prefboost.sources.layouts.unmapped import is_given, question_like
from prefboost.sources.readers.raw import ROW, RawBatch, Reader
from prefboost.tables import REJECTS

__all__ = [
    "LATER_LAYOUTS",
    "FittedReader",
    "columns_seen",
    "count_layouts",
    "fields_of",
    "with_later_parts",
    "with_layouts",
]

KEY = "__given__"

READ_AS = "__read_as__"
"""Column of raw frames: what was renamed in records that have another layout than the first ones, as part=column."""

OWN = (ROW, READ_AS)

LATER_LAYOUTS = "layouts of later records"
"""Note of the step ``read``: part=column ... -> in how many records, and the first of them."""

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


def count_layouts(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count the records of a raw frame whose layout is not that of the first ones, by what was renamed in them."""
    if READ_AS not in frame.columns:
        return {}
    counted = frame.drop_nulls(READ_AS).group_by(READ_AS, maintain_order=True).agg(pl.len(), pl.col(ROW).min())
    return {words: {"records": count, "first": first} for words, count, first in counted.iter_rows()}


def with_layouts(guess: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """The guess as it is printed, with what later records were read as (`LATER_LAYOUTS`)."""
    later = [f"{words} ({each['records']:,} from row {each['first']:,} on)" for words, each in counts.items()]
    return {**guess, **({"later records": later} if later else {})}


def _noted(frame: pl.DataFrame, words: Mapping[str, str]) -> pl.DataFrame:
    """The records with what was renamed in them in `READ_AS`, behind what stands there already."""
    if not words:
        return frame
    text = pl.lit(" ".join(f"{part}={path}" for part, path in words.items()))
    before = [pl.col(READ_AS)] if READ_AS in frame.columns else []
    return frame.with_columns(pl.concat_str(*before, text, separator=" ", ignore_nulls=True).alias(READ_AS))


def _given_fields(frame: pl.DataFrame, name: str) -> dict[str, pl.Expr]:
    """Field -> whether any of a record's completions holds something in it."""
    dtype: Any = frame.schema[name]
    element = pl.element().struct
    return {
        item.name: pl.col(name).list.eval(is_given(element.field(item.name), item.dtype)).list.any()
        for item in dtype.inner.fields
    }


def _parts_by(frame: pl.DataFrame, given: Mapping[str, pl.Expr]) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """The records that hold something in the same columns or fields, and which these are."""
    marks = pl.concat_str(pl.when(mark).then(pl.lit("1")).otherwise(pl.lit("0")) for mark in given.values())
    for (key,), part in frame.with_columns(marks.alias(KEY)).partition_by(KEY, as_dict=True).items():
        yield part.drop(KEY), [name for name, mark in zip(given, str(key), strict=True) if mark == "1"]


def _pruned(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The records without the fields of completions that only others of them hold."""
    name = next((each for each in names if plain_name(each) in NAMES["completions"] and fields_of(frame, each)), None)
    if name is None:
        yield frame
        return
    for part, held in _parts_by(frame, _given_fields(frame, name)):
        yield part.with_columns(_with_only(name, held)) if held else part


def _with_only(name: str, fields: Sequence[str]) -> pl.Expr:
    """A column of lists of structs with some of their fields; as it is where none are named."""
    return pl.col(name).list.eval(pl.struct(pl.element().struct.field(*fields))) if fields else pl.col(name)


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
        """See `prefboost.sources.readers.files.Reader`."""
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
            if fault is None:
                yield from self._of_new_columns(part)
            else:
                yield part, fault

    def _of_new_columns(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str | None]]:
        """`_fit` for records whose completions have the fields of the first ones."""
        new = [name for name in frame.columns if name not in self.known and name not in OWN and self._may_play(name)]
        if not new:
            yield frame, None
            return
        given = {name: is_given(pl.col(name), dtype) for name, dtype in frame.schema.items() if name not in OWN}
        odd = frame.select(pl.any_horizontal(given[name] for name in new)).to_series()
        if not odd.all():
            yield frame.filter(~odd).drop(new), None
        if odd.any():
            later = frame.filter(odd)
            for part, present in _parts_by(later, given):
                others = [name for name in given if name in self.known or name in present]
                for piece in _pruned(part, [name for name in present if name in new]):
                    yield self._renamed(piece, present, others)

    def _of_new_fields(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str | None]]:
        """The parts of a frame by the fields of their completions, new ones renamed to those of the layout."""
        name = self.layout.parts.get("completions", "")
        new = fields_of(frame, name) - self.fields if self.fields else frozenset()
        if not new:
            yield frame, None
            return
        given = _given_fields(frame, name)
        odd = frame.select(pl.any_horizontal(given[each] for each in new).fill_null(False)).to_series()
        first = [each for each in given if each in self.fields]
        if not odd.all():
            yield frame.filter(~odd).with_columns(_with_only(name, first)), None
        for part, held in _parts_by(frame.filter(odd), given):
            # Fields that only other records hold are dropped, since the guess goes by names and types alone.
            slim = part.with_columns(_with_only(name, [each for each in given if each in first or each in held]))
            plans = [self._plan(each) for each in (slim.with_columns(_with_only(name, held)), slim)]
            plan = next((plan for plan in plans if not isinstance(plan, str)), plans[-1])
            yield (slim, plan) if isinstance(plan, str) else (self._with_fields(slim, plan), None)

    def _with_fields(self, frame: pl.DataFrame, plan: Layout) -> pl.DataFrame:
        """The records with the fields of their completions renamed to those of the layout."""
        name = plan.parts.get("completions", "")
        dtype: Any = frame.schema.get(name)
        if plan.shape != "nested" or not fields_of(frame, name):
            return frame
        both = [part for part in INSIDE if part in plan.parts and part in self.layout.parts]
        moved = {self.layout.parts[part]: plan.parts[part] for part in both}
        moved |= {self.layout.aspects[aspect]: path for aspect, path in plan.aspects.items()}
        moved = {to: path for to, path in moved.items() if to != path}
        if not moved:
            return frame
        schema = {item.name: item.dtype for item in dtype.inner.fields}
        kept = [pl.element().struct.field(each) for each in schema if each not in (*moved, *moved.values())]
        fields = [expr_at(schema, path, pl.element()).alias(to) for to, path in moved.items()]
        words = {part: plan.parts[part] for part in both if self.layout.parts[part] in moved}
        words |= {aspect: path for aspect, path in plan.aspects.items() if self.layout.aspects[aspect] in moved}
        return _noted(frame.with_columns(pl.col(name).list.eval(pl.struct(*kept, *fields))), words)

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
            return frame, plan
        frame = self._with_fields(frame, plan)
        inside = INSIDE if plan.shape == "nested" else ()
        parts = {part: at for part, at in plan.parts.items() if part in self.layout.parts and part not in inside}
        parts.pop("reads", None)
        moved = {self.layout.parts[part]: path for part, path in parts.items()}
        moved |= dict(zip(self.layout.further, plan.further, strict=False))
        if plan.shape != "nested":
            moved |= {self.layout.aspects[name]: path for name, path in plan.aspects.items()}
        moved |= {self.layout.aspects_rejected[name]: path for name, path in plan.aspects_rejected.items()}
        moved = {to: path for to, path in moved.items() if to != path}
        kept = [name for name in frame.columns if name not in (*moved, *moved.values())]
        words = {part: path for part, path in parts.items() if self.layout.parts[part] in moved}
        words |= {"prompt": "+".join([plan.parts["prompt"], *plan.further])} if plan.further else {}
        new = frame.select(*kept, *(expr_at(frame.schema, path).alias(to) for to, path in moved.items()))
        return _noted(new, words), None

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
        if own.parts.get("reads") != self.layout.parts.get("reads"):
            return "the record says which completion is better in another way than the first ones"
        return own

    def _rejects(self, frame: pl.DataFrame, fault: str) -> pl.DataFrame:
        found = f"columns: {', '.join(name for name in frame.columns if name != ROW)}"[:200]
        record = {"stage": "read", "path": self.path, "id": None, "reason": fault, "found": found}
        return pl.DataFrame([{**record, "row": row} for row in frame[ROW]], schema=REJECTS)
