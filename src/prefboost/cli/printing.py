"""Reports of the command line: lines for people, or one JSON document; and the lines that several verbs share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

__all__ = [
    "AskingPlan",
    "format_columns",
    "list_changes",
    "list_costs",
    "list_rejected",
    "list_stored",
    "print_json",
    "print_report",
]


def print_report(record: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print a report.

    Args:
        record: the report as JSON values; paths and days are written as text.
        lines: the report for people.
        as_json: print the record instead of the lines.
    """
    if as_json:
        print_json(record)
        return
    for line in lines:
        print(line)


def print_json(record: Any) -> None:
    """Print JSON values as one indented document."""
    print(json.dumps(record, indent=2, ensure_ascii=False, default=str))


class AskingPlan(Protocol):
    """Counts of a dry run: what a model would be asked."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that the model reads."""

    @property
    def most_tokens(self) -> int:
        """Most tokens that it writes."""

    @property
    def most_dollars(self) -> float | None:
        """Most that this costs; None without a price table."""

    @property
    def stored(self) -> int:
        """Answers that the store holds already."""

    @property
    def again(self) -> int:
        """Calls that failed before and are repeated."""

    @property
    def refused(self) -> int:
        """Calls that failed before and are not repeated."""

    @property
    def estimated(self) -> bool:
        """True where prompt tokens are a guess, since no tokenizer is at hand."""


def list_costs(plan: AskingPlan) -> Iterator[str]:
    """List tokens to read and to write, and their cost."""
    about = "about " if plan.estimated else ""
    yield f"{about}{plan.prompt_tokens:,} tokens to read, at most {plan.most_tokens:,} to write"
    if plan.most_dollars is not None:
        yield f"{about}${plan.most_dollars:,.2f} at most"


def list_stored(plan: AskingPlan, predicate: str) -> Iterator[str]:
    """List what the store holds, and which calls that failed before are repeated.

    Args:
        plan: counts of the dry run.
        predicate: of the answers in the store, e.g. "are answered in the store already".
    """
    if plan.stored:
        yield f"{plan.stored:,} more {predicate}"
    if plan.refused:
        yield f"    {plan.refused:,} of them without an answer, and not asked again (--retry refused asks them)"
    if plan.again:
        yield f"{plan.again:,} of those to be asked failed or were refused before (--retry none leaves them)"


def list_changes(notes: Mapping[str, Any]) -> Iterator[str]:
    """List the models that changed under their name, from the notes of a step."""
    from prefboost.runs.generate.generate import MODEL_CHANGES

    for change in notes.get(MODEL_CHANGES, ()):
        yield f"note: {change}"


def list_rejected(rejected: Mapping[str, int], *, total: int = 0, indent: str = "") -> Iterator[str]:
    """List rejected rows by reason.

    Args:
        rejected: reason -> rows.
        total: rows of which the share is given; 0 gives none.
        indent: text in front of each line.
    """
    for reason, count in rejected.items():
        share = f" ({count / total:.1%})" if total else ""
        yield f"{indent}{count:,}{share} rejected: {reason}"


def format_columns(columns: object) -> str:
    """Write the column or columns of a part; aspects as ``aspect=column`` where the two names differ."""
    if isinstance(columns, Mapping):
        same = all(aspect == column for aspect, column in columns.items())
        return ", ".join(columns if same else (f"{aspect}={column}" for aspect, column in columns.items()))
    return ", ".join(map(str, columns)) if isinstance(columns, list | tuple) else str(columns)
