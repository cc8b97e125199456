"""States of a piece of work: what it reports, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Costs", "Progress", "Tell", "WorkProgress", "duration", "phase", "tell_bar"]


class Progress(Protocol):
    """Receives how far a piece of work has come."""

    def begin(self, what: str, total: int | None) -> None:
        """Start a piece of work of ``total`` parts; None where the number is unknown."""

    def advance(self, parts: int, **facts: float) -> None:
        """Report finished parts; ``tokens`` adds to a rate, other facts are shown as they are."""

    def end(self) -> None:
        """Finish the piece of work; without one under way nothing happens."""


class Costs(Protocol):
    """Tokens and dollars that were spent."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens that were read."""

    @property
    def tokens(self) -> int:
        """Tokens that were written."""

    @property
    def dollars(self) -> float:
        """Price of both."""


@dataclass(frozen=True)
class WorkProgress:
    """State of a piece of work, as every verb reports it after each batch.

    Args:
        name: of its bar; a new name begins a new bar.
        total: all parts; None where their number is unknown.
        done: parts that are finished or failed.
        stored: finished parts that an earlier call or another process did; they count in no rate.
        spent: so far; None where no model is asked.
        failed: parts that failed.
        unit: of the rate, in the plural; empty for none.
        label: text in front of the bar, where it is not the name.
        note: text in front of the rates.
    """

    name: str
    total: int | None
    done: int = 0
    stored: int = 0
    spent: Costs | None = None
    failed: int = 0
    unit: str = ""
    label: str = ""
    note: str = ""


Tell = Callable[[WorkProgress], None]
"""Receives the state of the work after every batch."""


def duration(seconds: float) -> str:
    """Format a duration for people: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def tell_bar(progress: Progress | None) -> Tell:
    """Turn states of work into advances of a training's bar; None shows nothing."""
    last = WorkProgress("", 0)

    def tell(now: WorkProgress) -> None:
        nonlocal last
        if progress is None:
            return
        if now.done == 0:
            progress.begin(now.name, now.total)
        else:
            tokens = _count_tokens(now) - _count_tokens(last)
            progress.advance(now.done - last.done, **({"tokens": float(tokens)} if tokens > 0 else {}))
            if now.done == now.total:
                progress.end()
        last = now

    return tell


def _count_tokens(work: WorkProgress) -> int:
    return 0 if work.spent is None else work.spent.tokens


@contextmanager
def phase(progress: Progress | None, what: str) -> Iterator[None]:
    """Show an uncounted piece of work, such as loading a model, while the block runs; None shows nothing."""
    if progress is not None:
        progress.begin(what, None)
    yield
    if progress is not None:
        progress.end()
