"""A reader whose later records fit the layout that was guessed from the first ones, or are rejects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from prefboost.errors import DataError
from prefboost.sources.columns import KNOWN_ASPECTS, NAMES, Columns, build_expression, normalize_name
from prefboost.sources.layouts.layout import COMPLETION_LIKE, INSIDE, Layout, guess
from prefboost.sources.layouts.unmapped import holds_value, looks_like_question
from prefboost.sources.readers.decoded import DECODED
from prefboost.sources.readers.raw import ROW, RawBatch, WrappedReader
from prefboost.tables import REJECTS

__all__ = [
    "LATER_LAYOUTS",
    "FittedReader",
    "list_seen_columns",
    "count_layouts",
    "list_struct_fields",
    "add_later_parts",
    "add_later_layouts",
]

KEY = "__given__"

READ_AS = "__read_as__"
"""Column of raw frames: what was renamed in records that have another layout than the first ones, as part=column."""

OWN = (ROW, READ_AS, DECODED)

LATER_LAYOUTS = "layouts of later records"
"""Note of the step ``read``: part=column ... -> in how many records, and the first of them."""

LATER = ("system", "history", "tools")
"""Parts of the question that a record may have although the first records have none."""

IDLE = ("source", "model", "prompt_id", "completion_id", "pair_id")
"""Parts that later records do without where the first ones have none: they only name things."""

WORDS = frozenset(
    {word for names in NAMES.values() for name in names for word in name.split("_")} - {"id", "name", "text"}
    | {"overall", "preference", "label", "labels", "winner", "margin", "goal"}
)
"""Words in the names of columns that can play a part."""


def add_later_parts(layout: Layout) -> Layout:
    """Add columns for parts of the question that only later records may have, under names that no file uses."""
    absent = {part: f"__{part}__" for part in LATER if part not in layout.parts}
    further = layout.further or (("__further__",) if "prompt" in layout.parts else ())
    return replace(layout, parts={**layout.parts, **absent}, further=further)


def list_seen_columns(sample: pl.DataFrame, layout: Layout) -> frozenset[str]:
    """List columns of the first records that play a part or hold anything; others may come to mean something later."""
    held = [name for name in sample.columns if sample[name].null_count() < sample.height]
    return frozenset((*held, *layout.list_heads(sample.columns)))


def list_struct_fields(frame: pl.DataFrame, name: str | None) -> frozenset[str]:
    """List the fields of the structs in a column of lists; none where it holds something else."""
    dtype: Any = frame.schema.get(name or "")
    structs = isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct)
    return frozenset(item.name for item in dtype.inner.fields) if structs else frozenset()


def count_layouts(frame: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Count the records of a raw frame whose layout is not that of the first ones, by what was renamed in them."""
    if READ_AS not in frame.columns:
        return {}
    counted = frame.drop_nulls(READ_AS).group_by(READ_AS, maintain_order=True).agg(pl.len(), pl.col(ROW).min())
    return {words: {"records": count, "first": first} for words, count, first in counted.iter_rows()}


def add_later_layouts(guess: Mapping[str, Any], counts: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Add to the guess, as it is printed, what later records were read as (`LATER_LAYOUTS`)."""
    later = [f"{words} ({each['records']:,} from row {each['first']:,} on)" for words, each in counts.items()]
    return {**guess, **({"later records": later} if later else {})}


def _note_renames(frame: pl.DataFrame, words: Mapping[str, str]) -> pl.DataFrame:
    """Append to `READ_AS` what was renamed in these records."""
    if not words:
        return frame
    text = pl.lit(" ".join(f"{part}={path}" for part, path in words.items()))
    before = [pl.col(READ_AS)] if READ_AS in frame.columns else []
    return frame.with_columns(pl.concat_str(*before, text, separator=" ", ignore_nulls=True).alias(READ_AS))


def _test_fields(frame: pl.DataFrame, name: str) -> dict[str, pl.Expr]:
    """Build for each field the test whether any of a record's completions holds something in it."""
    dtype: Any = frame.schema[name]
    element = pl.element().struct
    return {
        item.name: pl.col(name).list.eval(holds_value(element.field(item.name), item.dtype)).list.any()
        for item in dtype.inner.fields
    }


def _group_by_presence(frame: pl.DataFrame, tests: Mapping[str, pl.Expr]) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """Group records by the columns or fields in which they hold something, and list these."""
    marks = pl.concat_str(pl.when(mark).then(pl.lit("1")).otherwise(pl.lit("0")) for mark in tests.values())
    for (key,), part in frame.with_columns(marks.alias(KEY)).partition_by(KEY, as_dict=True).items():
        yield part.drop(KEY), [name for name, mark in zip(tests, str(key), strict=True) if mark == "1"]


def _drop_foreign_fields(frame: pl.DataFrame, names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Drop the fields of completions that only other records hold."""
    name = next(
        (each for each in names if normalize_name(each) in NAMES["completions"] and list_struct_fields(frame, each)),
        None,
    )
    if name is None:
        yield frame
        return
    for part, held in _group_by_presence(frame, _test_fields(frame, name)):
        yield part.with_columns(_select_fields(name, held)) if held else part


def _select_fields(name: str, fields: Sequence[str]) -> pl.Expr:
    """Select some fields of the structs in a column of lists; all of them where none are named."""
    return pl.col(name).list.eval(pl.struct(pl.element().struct.field(*fields))) if fields else pl.col(name)


@dataclass(frozen=True)
class FittedReader(WrappedReader):
    """A reader of records that all have one layout.

    Records with columns that the first ones do not have are read by a layout of their own, guessed from the columns
    that hold something in them, and their columns renamed to those of ``layout``. What cannot be brought into it is a
    reject.

    Args:
        columns: what the user named.
        known: names of the columns of the first records.
        layout: from `add_later_parts`.
        fields: of the completions of the first records, where they are structs (`list_struct_fields`).
    """

    columns: Columns
    known: frozenset[str]
    layout: Layout
    fields: frozenset[str] = frozenset()
    plans: dict[Any, Layout | str] = field(default_factory=dict, compare=False)

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(columns, rows):
            frames: list[pl.DataFrame] = []
            rejects = [batch.rejects]
            for frame in batch.frames:
                for part, fault in self._fit_fields(frame):
                    frames += [part] if fault is None else []
                    rejects += [] if fault is None else [self._build_rejects(part, fault)]
            yield RawBatch(tuple(frames), pl.concat(rejects))

    def _fit_columns(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str | None]]:
        """Yield the parts of a frame by the columns in which its records hold something, as `_fit_fields` does."""
        named = {value for value in self.columns.model_dump().values() if isinstance(value, str)}
        later = [name for name in frame.columns if name not in (*self.known, *OWN, *self.columns.ignore)]
        # A column is new where its name can play a part in any layout.
        plain = {name: normalize_name(name) for name in later}
        new = [
            name
            for name in later
            if name in named
            or WORDS.intersection(re.split(r"[_.\d]+", plain[name]))
            or plain[name] in KNOWN_ASPECTS
            or looks_like_question(name)
            or COMPLETION_LIKE.match(plain[name])
        ]
        if not new:
            yield frame, None
            return
        tests = {name: holds_value(pl.col(name), dtype) for name, dtype in frame.schema.items() if name not in OWN}
        odd = frame.select(pl.any_horizontal(tests[name] for name in new)).to_series()
        if not odd.all():
            yield frame.filter(~odd).drop(new), None
        for part, present in _group_by_presence(frame.filter(odd), tests):
            others = [name for name in tests if name in self.known or name in present]
            for piece in _drop_foreign_fields(part, [name for name in present if name in new]):
                yield self._rename_columns(piece, present, others)

    def _fit_fields(self, frame: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, str | None]]:
        """Yield the parts of a frame in the layout, or each with what is wrong with its records.

        Fields of completions come first: new ones are renamed to those of the layout, before the columns are.
        """
        name = self.layout.parts.get("completions", "")
        new = list_struct_fields(frame, name) - self.fields if self.fields else frozenset()
        if not new:
            yield from self._fit_columns(frame)
            return
        tests = _test_fields(frame, name)
        odd = frame.select(pl.any_horizontal(tests[each] for each in new).fill_null(False)).to_series()
        first = [each for each in tests if each in self.fields]
        if not odd.all():
            yield from self._fit_columns(frame.filter(~odd).with_columns(_select_fields(name, first)))
        for part, held in _group_by_presence(frame.filter(odd), tests):
            # Fields that only other records hold are dropped, since the guess goes by names and types alone.
            slim = part.with_columns(_select_fields(name, [each for each in tests if each in first or each in held]))
            plans = [self._guess_plan(each) for each in (slim.with_columns(_select_fields(name, held)), slim)]
            plan = next((plan for plan in plans if not isinstance(plan, str)), plans[-1])
            if isinstance(plan, str):
                yield slim, plan
            else:
                yield from self._fit_columns(self._rename_fields(slim, plan))

    def _rename_fields(self, frame: pl.DataFrame, plan: Layout) -> pl.DataFrame:
        """Rename the fields of completions to those of the layout."""
        name = plan.parts.get("completions", "")
        dtype: Any = frame.schema.get(name)
        if plan.shape != "nested" or not list_struct_fields(frame, name):
            return frame
        both = [part for part in INSIDE if part in plan.parts and part in self.layout.parts]
        moved = {self.layout.parts[part]: plan.parts[part] for part in both}
        moved |= {self.layout.aspects[aspect]: path for aspect, path in plan.aspects.items()}
        moved = {to: path for to, path in moved.items() if to != path}
        if not moved:
            return frame
        schema = {item.name: item.dtype for item in dtype.inner.fields}
        unchanged = [pl.element().struct.field(each) for each in schema if each not in (*moved, *moved.values())]
        fields = [build_expression(schema, path, pl.element()).alias(to) for to, path in moved.items()]
        words = {part: plan.parts[part] for part in both if self.layout.parts[part] in moved}
        words |= {aspect: path for aspect, path in plan.aspects.items() if self.layout.aspects[aspect] in moved}
        return _note_renames(frame.with_columns(pl.col(name).list.eval(pl.struct(*unchanged, *fields))), words)

    def _rename_columns(self, frame: pl.DataFrame, *choices: list[str]) -> tuple[pl.DataFrame, str | None]:
        """Rename the columns of records to those of the layout, or return what is wrong with them.

        Args:
            frame: records that hold something in the same columns.
            choices: the columns to guess from, the first of which a layout fits counts.
        """
        plans = [self._guess_plan(frame.select(ROW, *names)) for names in choices]
        plan = next((plan for plan in plans if not isinstance(plan, str)), plans[0])
        if isinstance(plan, str):
            return frame, plan
        frame = self._rename_fields(frame, plan)
        inside = INSIDE if plan.shape == "nested" else ()
        parts = {part: at for part, at in plan.parts.items() if part in self.layout.parts and part not in inside}
        parts.pop("reads", None)
        moved = {self.layout.parts[part]: path for part, path in parts.items()}
        moved |= dict(zip(self.layout.further, plan.further, strict=False))
        if plan.shape != "nested":
            moved |= {self.layout.aspects[name]: path for name, path in plan.aspects.items()}
        moved |= {self.layout.aspects_rejected[name]: path for name, path in plan.aspects_rejected.items()}
        moved = {to: path for to, path in moved.items() if to != path}
        unchanged = [name for name in frame.columns if name not in (*moved, *moved.values())]
        words = {part: path for part, path in parts.items() if self.layout.parts[part] in moved}
        words |= {"prompt": "+".join([plan.parts["prompt"], *plan.further])} if plan.further else {}
        new = frame.select(*unchanged, *(build_expression(frame.schema, path).alias(to) for to, path in moved.items()))
        return _note_renames(new, words), None

    def _guess_plan(self, frame: pl.DataFrame) -> Layout | str:
        """Guess the layout of records with these columns, or say why they do not fit, from names and types alone."""
        # A file has few combinations of columns, so a plan is guessed once for each.
        key = tuple(sorted((name, str(dtype)) for name, dtype in frame.schema.items()))
        if key in self.plans:
            return self.plans[key]
        first = self.layout
        plan: Layout | str
        try:
            plan = layout = guess(frame, self.columns, self.path)
        except DataError as error:
            plan = f"the record has other columns than the first ones, and {error.message}"
        else:
            lacking = [part for part in layout.parts if part not in (*first.parts, *IDLE)]
            lacking += [name for name in layout.aspects if name not in first.aspects]
            lacking += ["prompt"] if len(layout.further) > len(first.further) else []
            if layout.shape != first.shape:
                plan = f"the record has another shape ({layout.shape}) than the first ones ({first.shape})"
            elif lacking:
                plan = f"the record has a part that the first ones lack: {lacking[0]}"
            elif layout.parts.get("reads") != first.parts.get("reads"):
                plan = "the record says which completion is better in another way than the first ones"
        self.plans[key] = plan
        return plan

    def _build_rejects(self, frame: pl.DataFrame, fault: str) -> pl.DataFrame:
        names = f"columns: {', '.join(name for name in frame.columns if name != ROW)}"[:200]
        record = {"stage": "read", "path": self.path, "id": None, "reason": fault, "found": names}
        return pl.DataFrame([{**record, "row": row} for row in frame[ROW]], schema=REJECTS)
