"""Texts of the examples, fetched in a second look at the source, since the first remembers none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from prefboost.diagnosis.finding import Example, Finding
from prefboost.diagnosis.slim import SIDES, joined_text
from prefboost.diagnosis.streams import Stream

__all__ = ["with_texts"]

_CHARS = 40
_INVISIBLE = r"\p{Cf}"
"""Characters without width, such as U+200B, which alone make a text that looks like nothing at all."""

_LOOKED_AT = 1_000_000
"""Rows that the second look goes through at most; examples behind them stay without text."""


def with_texts(findings: Sequence[Finding], stream: Stream) -> tuple[Finding, ...]:
    """The findings, with the beginnings of completions and prompt in their examples."""
    wanted = {example.position for finding in findings for example in finding.examples if example.position is not None}
    texts = _texts(wanted, stream)
    return tuple(
        replace(finding, examples=tuple(_filled(example, texts) for example in finding.examples))
        for finding in findings
    )


def _filled(example: Example, texts: Mapping[int, tuple[str, str]]) -> Example:
    if example.position is None and example.text:
        return example  # it stands for no row of the table, and says itself what it shows
    text, path = texts.get(-1 if example.position is None else example.position, ("", ""))
    return replace(example, text=text, path=path)


def _texts(wanted: set[int], stream: Stream) -> dict[int, tuple[str, str]]:
    """Position -> text and path, for the wanted positions among the first rows."""
    found: dict[int, tuple[str, str]] = {}
    first, left = 0, {position for position in wanted if position < _LOOKED_AT}
    if not left:
        return found
    for table in stream():
        here = sorted(position for position in left if position < first + len(table))
        names = [name for name in (*SIDES, "prompt") if name in table.frame.columns]
        shown = table.frame[[position - first for position in here]].select(_short(name) for name in names)
        for position, row in zip(here, shown.iter_rows(), strict=True):
            told = " | ".join(f"{name}: {text}" for name, text in zip(names, row, strict=True))
            found[position] = (told, table.path or "")
        left -= set(here)
        first += len(table)
        if not left:
            break
    return found


def _short(column: str) -> pl.Expr:
    line = joined_text(column).fill_null("").str.replace_all(r"\s+", " ").str.strip_chars()
    line = line.str.replace_all(_INVISIBLE, "␣")
    dots = pl.when(line.str.len_chars() > _CHARS).then(pl.lit("…")).otherwise(pl.lit(""))
    return pl.concat_str(line.str.slice(0, _CHARS), dots).alias(column)
