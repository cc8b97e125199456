"""Texts of the examples, read in a second pass over the source, since the first keeps none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from prefboost.diagnosis.finding import Example, Finding
from prefboost.diagnosis.row_digest import COMPLETION_COLUMNS
from prefboost.diagnosis.streams import Stream
from prefboost.preferences.likeness import join_contents

__all__ = ["add_texts"]

_CHARS = 40
_INVISIBLE = r"\p{Cf}"
"""Characters without width, such as U+200B: a text of these alone looks empty."""

_MOST_ROWS = 1_000_000
"""Most rows of the second pass; examples behind them stay without text."""


def add_texts(findings: Sequence[Finding], stream: Stream) -> tuple[Finding, ...]:
    """Add the beginnings of completions and prompt to the examples of findings."""
    positions = {
        example.position for finding in findings for example in finding.examples if example.position is not None
    }
    texts = _read_texts(positions, stream)

    def fill(example: Example) -> Example:
        if example.position is None and example.text:
            return example  # it stands for no row of the table, and says itself what it shows
        text, path = texts.get(-1 if example.position is None else example.position, ("", ""))
        return replace(example, text=text, path=path)

    return tuple(replace(finding, examples=tuple(map(fill, finding.examples))) for finding in findings)


def _read_texts(positions: set[int], stream: Stream) -> dict[int, tuple[str, str]]:
    """Read position -> text and path, for positions among the first rows."""
    texts: dict[int, tuple[str, str]] = {}
    first, left = 0, {position for position in positions if position < _MOST_ROWS}
    if not left:
        return texts
    for table in stream():
        here = sorted(position for position in left if position < first + len(table))
        names = [name for name in (*COMPLETION_COLUMNS, "prompt") if name in table.frame.columns]
        texts_here = table.frame[[position - first for position in here]].select(_shorten(name) for name in names)
        for position, row in zip(here, texts_here.iter_rows(), strict=True):
            text = " | ".join(f"{name}: {part}" for name, part in zip(names, row, strict=True))
            texts[position] = (text, table.path or "")
        left -= set(here)
        first += len(table)
        if not left:
            break
    return texts


def _shorten(column: str) -> pl.Expr:
    line = join_contents(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    line = line.str.replace_all(_INVISIBLE, "␣")
    dots = pl.when(line.str.len_chars() > _CHARS).then(pl.lit("…")).otherwise(pl.lit(""))
    return pl.concat_str(line.str.slice(0, _CHARS), dots).alias(column)
