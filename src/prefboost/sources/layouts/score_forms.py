"""Scores written as texts of one form: ``8/10``, or ``7,5`` with a decimal comma."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.layouts.score_columns import unnest_completions
from prefboost.sources.readers.raw import RawBatch, Reader

__all__ = ["FormedReader", "find_score_forms"]

NUMBER = r"-?\d+(?:\.\d+)?"
FRACTION = rf"^\s*({NUMBER})\s*/\s*(\d+)\s*$"
COMMA = r"^\s*(-?\d+),(\d+)\s*$"
WHOLE = r"^\s*-?\d+\s*$"
BLANK = r"(?i)^\s*(?:|n/a|na|none|null|-|nan)\s*$"


def find_score_forms(sample: pl.DataFrame, layout: Layout) -> dict[str, str]:
    """Find the columns and fields whose scores are all texts of one form.

    Args:
        sample: the first records.
        layout: what its columns mean.

    Returns:
        path -> ``/10`` (the denominator that all share) or ``,`` (a decimal comma: at least one number has other than
        three digits behind it, so that it cannot part thousands). Texts of the other forms are not certain.
    """
    parts = ("score", "score_chosen", "score_rejected", "score_first", "score_second")
    paths = [layout.parts[part] for part in parts if part in layout.parts]
    forms = {}
    for path in {*paths, *layout.aspects.values(), *layout.aspects_rejected.values()}:
        texts = _list_texts(sample, layout, path)
        if (form := _find_form(texts.filter(~texts.str.contains(BLANK)))) is not None:
            forms[path] = form
    return dict(sorted(forms.items()))


def _find_form(texts: pl.Series) -> str | None:
    denominators = texts.str.extract(FRACTION, 2)
    if texts.len() and not denominators.null_count() and denominators.n_unique() == 1:
        return f"/{denominators[0]}"
    behind = texts.str.extract(COMMA, 2)
    fits = behind.is_not_null() | texts.str.contains(WHOLE)
    return "," if fits.all() and (behind.drop_nulls().str.len_chars() != 3).any() else None


def _list_texts(sample: pl.DataFrame, layout: Layout, path: str) -> pl.Series:
    """List the texts at a path; none where something else is there."""
    inside = unnest_completions(sample, layout) if layout.shape == "nested" else None
    frame = inside if inside is not None and path in inside.columns else sample
    scores = frame[path] if path in frame.columns else pl.Series([], dtype=pl.String)
    flat = scores.explode() if isinstance(scores.dtype, pl.List) else scores
    return flat.drop_nulls() if flat.dtype == pl.String else pl.Series([], dtype=pl.String)


def _write_plainly(texts: pl.Expr, form: str) -> pl.Expr:
    """Write texts of the form as plain numbers; others stay, and are rejected later."""
    if form == ",":
        return pl.when(texts.str.contains(COMMA)).then(texts.str.replace(",", ".", literal=True)).otherwise(texts)
    same = (texts.str.extract(FRACTION, 2) == form.removeprefix("/")).fill_null(False)
    return pl.when(same).then(texts.str.extract(FRACTION, 1)).otherwise(texts)


@dataclass(frozen=True)
class FormedReader:
    """A reader whose scores of one form are plain numbers.

    Args:
        reader: of records as they stand.
        layout: with the forms from `find_score_forms`.
    """

    reader: Reader
    layout: Layout

    @property
    def path(self) -> str:
        """The path as it was asked for."""
        return self.reader.path

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        for batch in self.reader.batches(columns, rows):
            frames = tuple(frame.with_columns(*self._convert(frame)) for frame in batch.frames)
            yield RawBatch(frames, batch.rejects)

    def _convert(self, frame: pl.DataFrame) -> Iterator[pl.Expr]:
        forms = self.layout.forms
        holder = self.layout.parts.get("completions", "") if self.layout.shape == "nested" else ""
        dtype: Any = frame.schema.get(holder)
        inner = dtype.inner if isinstance(dtype, pl.List) else None
        fields = {item.name: item.dtype for item in inner.fields} if isinstance(inner, pl.Struct) else {}
        inside = {path: form for path, form in forms.items() if fields.get(path) == pl.String}
        if inside:
            element = pl.element().struct
            written = [_write_plainly(element.field(path), form).alias(path) for path, form in inside.items()]
            yield pl.col(holder).list.eval(element.with_fields(*written))
        for path, form in forms.items():
            if path not in inside and frame.schema.get(path) == pl.String:
                yield _write_plainly(pl.col(path), form).alias(path)
            elif path not in inside and frame.schema.get(path) == pl.List(pl.String):
                yield pl.col(path).list.eval(_write_plainly(pl.element(), form))
