"""Columns of scores: those that could be the score where none was found, and texts of one form (``8/10``, ``7,5``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.columns import find_dtype
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW

__all__ = ["find_score_forms", "list_number_columns", "refuse_score_fields", "unnest_completions", "write_plainly"]

_LOOKED_AT = 200
_NO_SCORE = re.compile(
    r"(?i)(.*[_.-])?([ug]?u?ids?|idx|index|row|line|number|seed|turn|turns|tokens?|length|len|chars?|words?|time|timestamp|date"
    r"|year|created|updated|position|order|temperature|top_p|n|k|count|version)$"
)
"""Names of numbers that tell which, when or how long, not how good."""

_VERDICT = re.compile(r"(?i)(is_)?(labels?|liked|preferred|accepted|correct|good|thumbs_up|upvoted|desirable)")
"""Names of truth values that say how good a completion is: ``label`` in the unpaired data of KTO's trainers."""


def list_number_columns(frames: Iterable[pl.DataFrame], layout: Layout) -> list[str]:
    """List columns of numbers that the layout reads nothing from, fields of completions under their own names.

    Args:
        frames: raw records; the first of them are looked at.
        layout: of data without scores.
    """
    frame = next(iter(frames), None)
    if frame is None:
        return []
    seen = frame.head(_LOOKED_AT)
    inner = unnest_completions(seen, layout)
    used = {*layout.parts.values(), *layout.aspects.values(), *layout.aspects_rejected.values(), ROW}
    columns = [*_list_numbers(seen), *(() if inner is None else _list_numbers(inner))]
    return [name for name in dict.fromkeys(columns) if name not in used and not _NO_SCORE.match(name)]


def refuse_score_fields(sample: pl.DataFrame, layout: Layout, path: str) -> None:
    """Refuse a score that is an object of several values, of which none was named.

    Raises:
        DataError: lists its fields.
    """
    inner = unnest_completions(sample, layout)
    schemas: list[Mapping[str, pl.DataType]] = [sample.schema, *([] if inner is None else [inner.schema])]
    for part in ("score", "rank", "score_chosen", "score_rejected"):
        column = layout.parts.get(part)
        dtypes = [find_dtype(schema, column) for schema in schemas if column is not None]
        fields = next(([item.name for item in dtype.fields] for dtype in dtypes if isinstance(dtype, pl.Struct)), [])
        if fields and column is not None:
            raise DataError(
                f"the {part.replace('_', ' of ')} is not a number, but has the fields {', '.join(fields[:8])}",
                remedy=f"name one of them, e.g. columns.{part}={column}.{fields[0]}",
                place=Place(path, column=column),
            )


def unnest_completions(frame: pl.DataFrame, layout: Layout) -> pl.DataFrame | None:
    """Return the completions of nested records as a frame of their own."""
    column = layout.parts.get("completions")
    dtype = None if column is None else frame.schema.get(column)
    if column is None or not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return None
    return frame.select(pl.col(column).explode()).unnest(column)


def _list_numbers(frame: pl.DataFrame) -> Iterator[str]:
    for values in frame.get_columns():
        if values.dtype == pl.String and values.len() > values.null_count():
            numbers = values.cast(pl.Float64, strict=False)
            if numbers.null_count() > values.null_count():
                continue
        elif isinstance(values.dtype, pl.Struct):
            fields = values.struct.unnest()
            yield from (f"{values.name}.{name}" for name in _list_numbers(fields))
            continue
        elif values.dtype.is_numeric() or (values.dtype == pl.Boolean and _VERDICT.fullmatch(values.name)):
            numbers = values
        else:
            continue
        if numbers.null_count() < numbers.len():
            yield values.name


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
        texts = texts.filter(~texts.str.contains(BLANK))
        denominators, decimals = texts.str.extract(FRACTION, 2), texts.str.extract(COMMA, 2)
        fits = decimals.is_not_null() | texts.str.contains(WHOLE)
        if texts.len() and not denominators.null_count() and denominators.n_unique() == 1:
            forms[path] = f"/{denominators[0]}"
        elif fits.all() and (decimals.drop_nulls().str.len_chars() != 3).any():
            forms[path] = ","
    return dict(sorted(forms.items()))


def _list_texts(sample: pl.DataFrame, layout: Layout, path: str) -> pl.Series:
    """List the texts at a path; none where something else is there."""
    inside = unnest_completions(sample, layout) if layout.shape == "nested" else None
    frame = inside if inside is not None and path in inside.columns else sample
    scores = frame[path] if path in frame.columns else pl.Series([], dtype=pl.String)
    flat = scores.explode() if isinstance(scores.dtype, pl.List) else scores
    return flat.drop_nulls() if flat.dtype == pl.String else pl.Series([], dtype=pl.String)


def write_plainly(texts: pl.Expr, form: str) -> pl.Expr:
    """Write texts of the form as plain numbers; others stay."""
    if form == ",":
        return pl.when(texts.str.contains(COMMA)).then(texts.str.replace(",", ".", literal=True)).otherwise(texts)
    same = (texts.str.extract(FRACTION, 2) == form.removeprefix("/")).fill_null(False)
    return pl.when(same).then(texts.str.extract(FRACTION, 1)).otherwise(texts)
