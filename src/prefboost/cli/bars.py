"""Progress bars: how much is done, at what rate, and how long the rest will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["bars"]


def bars(title: str, *, hidden: bool) -> Progress:
    """Bars on stderr, to be used as a context manager.

    Args:
        title: what stands before a bar, in Rich's markup; ``{task.description}`` is what each was added as.
        hidden: show none.

    Returns:
        Rich's bars. Whoever adds one gives it the field ``detail``: the text behind it, e.g. rates.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=True),
    )  # fmt: skip
    return Progress(*columns, console=Console(stderr=True), disable=hidden)
