"""Progress that people read: Rich's bars on a terminal, plain lines in a pipe, a log file or CI.

Without a terminal a line appears after a few seconds and then at least every 30 seconds, also while nothing advances (a
model is loading, the first step is under way), so that nobody takes a long command for a hung one.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars
from rich.table import Column

from prefboost.progress import duration

__all__ = ["Bars", "RichProgress", "line_of"]

FIRST_LINE_S = 3.0
LINE_EVERY_S = 20.0
"""Seconds until the first line, and between two; together well under 30 on a busy machine."""


class Bars(RichBars):
    """Rich's bars on stderr where it is a terminal, else plain lines there. Use as a context manager.

    Each task has the field ``detail``, the text behind its bar.

    Args:
        transient: take the bars off the terminal when they stop.
        first_line_s: seconds until the first plain line; default: `FIRST_LINE_S`.
        line_every_s: seconds between two plain lines; default: `LINE_EVERY_S`.
    """

    def __init__(
        self,
        *,
        transient: bool = False,
        first_line_s: float | None = None,
        line_every_s: float | None = None,
    ) -> None:
        console = Console(stderr=True)
        live = console.is_terminal
        # Speed over ten minutes: a step of a large model takes longer than Rich's 30 seconds.
        super().__init__(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(elapsed_when_finished=True),
            # The detail alone is cut where space is short.
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            console=console,
            disable=not live,
            transient=transient,
            speed_estimate_period=600.0,
            expand=True,
        )
        first_s = FIRST_LINE_S if first_line_s is None else first_line_s
        every_s = LINE_EVERY_S if line_every_s is None else line_every_s
        self._lines = None if live else _Lines(self, first_s, every_s)

    def start(self) -> None:
        """Start to show progress."""
        super().start()
        if self._lines is not None and self._lines.ident is None:
            self._lines.start()

    def stop(self) -> None:
        """Leave the terminal as it was; print where the last counted task stands."""
        if self._lines is not None:
            self._lines.stop()
        super().stop()


class _Lines(threading.Thread):
    """A thread that prints where the newest task stands."""

    def __init__(self, bars: Bars, first_s: float, every_s: float) -> None:
        super().__init__(name="progress lines", daemon=True)
        self.bars = bars
        self.first_s = first_s
        self.every_s = every_s
        self._stopping = threading.Event()
        self._began = 0.0
        self._printed = ""

    def run(self) -> None:
        """Print lines until `stop` is called."""
        self._began = time.monotonic()
        wait_s = self.first_s
        while not self._stopping.wait(wait_s):
            # Tasks stay listed when they are complete, or ended before: their last parts may have needed no work.
            # So the one at work is the newest of the others; none: uncounted work.
            unfinished = [task for task in self.bars.tasks if not task.finished and task.stop_time is None]
            self._print(unfinished[-1] if unfinished else None)
            wait_s = self.every_s

    def stop(self) -> None:
        """Stop; print where the newest task ended, if it is counted."""
        if self.ident is None or self._stopping.is_set():
            return
        self._stopping.set()
        self.join()
        if self.bars.tasks and self.bars.tasks[-1].total:
            self._print(self.bars.tasks[-1])

    def _print(self, task: Task | None) -> None:
        line = line_of(task, time.monotonic() - self._began)
        if line == self._printed:
            return
        self._printed = line
        try:
            print(line, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # nobody reads any more: the work itself goes on
            self._stopping.set()


def line_of(task: Task | None, waited_s: float) -> str:
    """Describe a task in one line: what, done of total, time left, elapsed time, detail.

    Args:
        task: None where nothing that is counted is under way.
        waited_s: seconds since the command began.
    """
    if task is None:
        return f"working: {duration(waited_s)} so far"
    elapsed = task.elapsed or 0.0
    parts = [f"{task.completed:,.0f}/{task.total:,.0f}" if task.total else f"{task.completed:,.0f}"]
    if not task.total and not task.completed:
        parts = []  # a piece of work that is not counted, such as loading a model
    if task.total and task.completed and not task.finished and elapsed:
        # The whole task's rate, not the last seconds': steps can be minutes apart.
        parts.append(f"{duration((task.total - task.completed) / (task.completed / elapsed))} left")
    parts.append(f"{duration(elapsed)} so far")
    detail = " ".join(str(task.fields.get("detail", "")).split())
    return f"{task.description}: {', '.join(parts)}" + (f", {detail}" if detail else "")


class RichProgress:
    """A `Progress` shown by `Bars`. Use as a context manager, or call `close`.

    Args:
        clock: seconds.
        first_line_s, line_every_s: see `Bars`.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        first_line_s: float | None = None,
        line_every_s: float | None = None,
    ) -> None:
        self._bars = Bars(first_line_s=first_line_s, line_every_s=line_every_s)
        self._bars.start()
        self._clock = clock
        self._task: TaskID | None = None
        self._counted = True
        self._began = 0.0
        self._parts = 0
        self._tokens = 0.0

    def begin(self, what: str, total: int | None) -> None:
        """See `Progress`."""
        self.end()  # of work that failed nobody told the end
        self._task, self._counted = self._bars.add_task(what, total=total, detail=""), total is not None
        self._began, self._parts, self._tokens = self._clock(), 0, 0.0

    def advance(self, parts: int, **facts: float) -> None:
        """See `Progress`."""
        if self._task is None:
            return
        self._parts += parts
        self._tokens += facts.pop("tokens", 0.0)
        seconds = max(self._clock() - self._began, 1e-9)
        rates = [f"{self._parts / seconds:,.1f}/s"]
        rates += [f"{self._tokens / seconds:,.0f} tokens/s"] if self._tokens else []
        detail = "  ".join(rates + [f"{name} {value:.4g}" for name, value in facts.items()])
        self._bars.update(self._task, advance=parts, detail=detail)

    def end(self) -> None:
        """See `Progress`."""
        if self._task is not None and self._counted:
            self._bars.stop_task(self._task)
        elif self._task is not None:
            self._bars.remove_task(self._task)  # an uncounted piece of work leaves no full bar behind
        self._task = None

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._bars.stop()

    def __enter__(self) -> RichProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
