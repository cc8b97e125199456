"""Progress of the command line: one bar for each piece of work, with its rate, cost and time left, on stderr.

Rich is imported where a bar is shown, which spares hidden ones a twentieth of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prefboost.cli.rich_bars import RichProgress
    from prefboost.progress import Tell, WorkProgress

__all__ = ["describe_rates", "open_progress", "show_wait", "show_work"]


def describe_rates(work: WorkProgress, elapsed_s: float) -> str:
    """Describe rate, tokens, dollars, failures and stored parts, each where there is something to tell."""
    fresh = work.done - work.stored
    tokens, dollars = (
        (0, 0.0) if work.spent is None else (work.spent.prompt_tokens + work.spent.tokens, work.spent.dollars)
    )
    parts = [
        work.note,
        f"{fresh / elapsed_s:,.1f} {work.unit}/s".replace(" /", "/") if fresh and elapsed_s > 0 else "",
        f"{tokens:,} tokens" if tokens else "",
        f"${dollars:.4f}" if dollars else "",
        f"{work.failed:,} failed" if work.failed else "",
        f"({work.stored:,} from the store)" if work.stored else "",
    ]
    return " ".join(part for part in parts if part)


@contextmanager
def show_work(*, hidden: bool, begin: str = "") -> Iterator[Tell]:
    """Show bars while the block runs.

    Args:
        hidden: show nothing.
        begin: name of a bar that is there before the first report.

    Yields:
        a function that takes the state of the work.
    """
    if hidden:
        yield lambda work: None
        return
    from prefboost.cli.rich_bars import Bars

    with Bars() as bars:
        tasks = {begin: bars.add_task(begin, total=None, detail="loading")} if begin else {}

        def tell(work: WorkProgress) -> None:
            label = work.label or work.name
            if work.name not in tasks:
                tasks[work.name] = bars.add_task(label, total=work.total, detail="")
            task = tasks[work.name]
            if work.stored and work.done == work.stored:
                # The clock begins with the first fresh part: reading the store takes no time that a rate should count.
                bars.reset(task, total=work.total, completed=work.done, detail=describe_rates(work, 0.0))
                return
            detail = describe_rates(work, bars.tasks[task].elapsed or 0.0)
            bars.update(task, completed=work.done, total=work.total, description=label, detail=detail)

        yield tell


@contextmanager
def show_wait(title: str, *, hidden: bool) -> Iterator[None]:
    """Show that uncounted work runs, such as reading a large file; leave nothing on a terminal.

    Args:
        title: of the work.
        hidden: show nothing.
    """
    if hidden:
        yield
        return
    from prefboost.cli.rich_bars import Bars

    with Bars(transient=True) as bars:
        bars.add_task(title, total=None, detail="")
        yield


@contextmanager
def open_progress(*, hidden: bool) -> Iterator[RichProgress | None]:
    """Open the bars of a training; None where they are hidden."""
    if hidden:
        yield None
        return
    from prefboost.cli.rich_bars import RichProgress

    with RichProgress() as progress:
        yield progress
