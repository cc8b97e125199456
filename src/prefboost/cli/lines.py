"""Lines that several commands print alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["Asks", "print_asked", "print_changes", "print_rejected", "print_stored"]


class Asks(Protocol):
    """What a model would be asked."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens it reads."""

    @property
    def most_tokens(self) -> int:
        """Tokens it writes at most."""

    @property
    def most_dollars(self) -> float | None:
        """What that costs at most; None without a price table."""

    @property
    def stored(self) -> int:
        """What a store holds of it already."""

    @property
    def again(self) -> int:
        """What failed before and is asked again."""

    @property
    def refused(self) -> int:
        """What failed before and is not asked again."""

    @property
    def estimated(self) -> bool:
        """The tokens it reads are a guess: no tokenizer is at hand."""


def print_asked(plan: Asks) -> None:
    """Tokens to read and to write, and what they cost."""
    about = "about " if plan.estimated else ""
    print(f"{about}{plan.prompt_tokens:,} tokens to read, at most {plan.most_tokens:,} to write")
    if plan.most_dollars is not None:
        print(f"{about}${plan.most_dollars:,.2f} at most")


def print_stored(plan: Asks, what: str) -> None:
    """What a store holds, what failed in earlier calls, and which of that is asked again.

    Args:
        plan: what would be asked.
        what: of those in the store, e.g. "are answered in the store already".
    """
    if plan.stored:
        print(f"{plan.stored:,} more {what}")
    if plan.refused:
        print(f"    {plan.refused:,} of them without an answer, and not asked again (--retry refused asks them)")
    if plan.again:
        print(f"{plan.again:,} of those to be asked failed or were refused before (--retry none leaves them)")


def print_changes(notes: Mapping[str, Any]) -> None:
    """What a step tells of models that changed under their name."""
    from prefboost.runs.generate.generate import CHANGED

    for change in notes.get(CHANGED, ()):
        print(f"note: {change}")


def print_rejected(rejected: Mapping[str, int]) -> None:
    """Rows that were set aside, by reason."""
    for reason, count in rejected.items():
        print(f"{count:,} set aside: {reason}")
