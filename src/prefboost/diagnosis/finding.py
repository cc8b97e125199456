"""Result of a lint: a sentence, a count, examples, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

__all__ = ["EXAMPLES", "Example", "Finding", "Severity", "build_finding"]

Severity = Literal["error", "warning", "note"]

EXAMPLES = 5
"""Most cases shown of each kind."""


@dataclass(frozen=True)
class Example:
    """A case of a finding.

    Args:
        row: record number in its file, from 0; None where no row is at fault.
        text: the beginning of its texts.
        path: the file.
        position: of the row among the rows that were read, from 0; None for rejected ones.
    """

    row: int | None
    text: str = ""
    path: str = ""
    position: int | None = None


@dataclass(frozen=True)
class Finding:
    """Result of a lint.

    Args:
        name: of the lint.
        severity: error: such rows teach the opposite; warning: worth a look; note: for information.
        sentence: what is wrong.
        count: cases, out of ``of``.
        examples: the first cases.
        remedy: what to do.
    """

    name: str
    severity: Severity
    sentence: str
    count: int
    of: int
    examples: tuple[Example, ...] = ()
    remedy: str = ""

    @property
    def rows(self) -> tuple[int, ...]:
        """Record numbers of the examples."""
        return tuple(example.row for example in self.examples if example.row is not None)


def build_finding(
    frame: pl.DataFrame, bad: pl.Expr | pl.Series, name: str, severity: Severity, words: tuple[str, str]
) -> Finding | None:
    """Build a finding of the rows for which ``bad`` holds (null counts as no); None where there are none.

    Args:
        frame: all rows of `prefboost.diagnosis.row_digest.digest_rows`, so that a row's index is its position.
        bad: boolean.
        name: of the lint.
        severity: see `Finding`.
        words: sentence and remedy.
    """
    mask = frame.select(bad.fill_null(False)).to_series()
    count = int(mask.sum())
    if not count:
        return None
    first = mask.arg_true().head(EXAMPLES).to_list()
    examples = tuple(Example(int(frame["row"][at]), position=int(at)) for at in first)
    return Finding(name, severity, words[0], count, frame.height, examples, words[1])
