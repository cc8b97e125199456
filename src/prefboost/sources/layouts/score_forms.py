"""Scores written as texts of one form: ``8/10``, or ``7,5`` with a decimal comma."""

from __future__ import annotations

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.layouts.score_columns import unnest_completions

__all__ = ["find_score_forms", "write_plainly"]

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
