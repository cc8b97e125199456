"""Lines that several commands print alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

__all__ = ["Asks", "print_asked", "print_rejected"]


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
    def estimated(self) -> bool:
        """The tokens it reads are a guess: no tokenizer is at hand."""


def print_asked(plan: Asks) -> None:
    """Tokens to read and to write, and what they cost."""
    about = "about " if plan.estimated else ""
    print(f"{about}{plan.prompt_tokens:,} tokens to read, at most {plan.most_tokens:,} to write")
    if plan.most_dollars is not None:
        print(f"{about}${plan.most_dollars:,.2f} at most")


def print_rejected(rejected: Mapping[str, int]) -> None:
    """Rows that were set aside, by reason."""
    for reason, count in rejected.items():
        print(f"{count:,} set aside: {reason}")
