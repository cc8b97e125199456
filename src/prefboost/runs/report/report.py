"""`report`: one page on runs, evaluations, reproductions and diagnoses, written once or again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prefboost.atomic import write_atomically
from prefboost.errors import Place, RunError
from prefboost.reporting.report_page import ReportPage, render_report
from prefboost.reporting.sections import plot_strips
from prefboost.runs.report.missing import list_missing
from prefboost.runs.report.parts import build_parts, state_outcome
from prefboost.runs.report.sources import is_at_work, read_sources
from prefboost.sources.writers.outputs import refuse_inputs

__all__ = ["PageReport", "guard_page", "report", "watch"]

SAMPLES = 300
"""Rows whose texts are on the page, of all groups together."""

_MARK = '<meta name="generator" content="prefboost">'
"""Text by which a page of prefboost is known, near its beginning."""


@dataclass(frozen=True)
class PageReport:
    """Outcome of `report`.

    Args:
        page: the file.
        parts: titles of what is on it, in order.
        missing: part without data -> the command that makes them.
        running: a process is at work in a folder.
    """

    page: str
    parts: tuple[str, ...]
    missing: dict[str, str] = field(default_factory=dict)
    running: bool = False

    def lines(self) -> Iterator[str]:
        """Yield the printed report, line by line."""
        yield f"parts: {', '.join(self.parts)}"
        for part, command in self.missing.items():
            yield f"no data: {part} ({command})"
        yield f"report: {self.page}"


def report(
    paths: Sequence[str | Path], out: str | Path, *, samples: int = SAMPLES, refresh_s: int | None = None
) -> PageReport:
    """Write the page.

    Args:
        paths: folders of train, run, evaluate, reproduce and demo, and .json files of diagnose.
        out: ``.html`` file.
        samples: about how many rows are shown with their texts.
        refresh_s: seconds after which a browser reads the page again while a run is at work; None: never.

    Raises:
        RunError: a path holds nothing to report on, or the page would replace a file that prefboost did not write.
        DataError: a file cannot be read.
    """
    target, folders = Path(out), [Path(path) for path in paths]
    guard_page(target, folders)
    sources = read_sources(folders)
    # A final page is not read again: a browser would lose its place and the filters that are set.
    running = any(run.running for run in sources.runs)
    sections = [
        plot_strips(section, f"strip-{number}") for number, section in enumerate(build_parts(sources, samples), 1)
    ]
    titles = {section.title for section in sections}
    missing = list_missing(folders, titles, evaluated=bool(sources.evaluations))
    alarms = [f"{alarm}." for scored in sources.evaluations.values() for alarm in scored.results.alarms]
    names = [path.resolve().name for path in folders]
    page = ReportPage(
        title=", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else ""),
        about=", ".join(str(path) for path in paths),
        verdict=list(state_outcome(sources)),
        sections=sections,
        alarms=alarms,
        missing=missing,
        refresh_s=refresh_s if running else None,
    )
    write_atomically(target, render_report(page), errors="replace")
    return PageReport(str(target), tuple(section.title for section in sections), missing, running)


def watch(
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    every_s: int,
    samples: int = SAMPLES,
    tell: Callable[[PageReport], None] = lambda _: None,
) -> PageReport:
    """Write the page again and again while a process is at work in a folder, and once when none is any more.

    Args:
        paths, out, samples: see `report`.
        every_s: seconds between two pages.
        tell: is called after every page.
    """
    while True:
        # Asked before the folders are read: what a run writes after its last page is on the one after it.
        running = any(is_at_work(Path(path)) for path in paths)
        written = report(paths, out, samples=samples, refresh_s=every_s if running else None)
        tell(written)
        if not running:
            return written
        time.sleep(every_s)


def guard_page(target: Path, folders: Sequence[Path]) -> None:
    """Refuse a page that would replace an input, or a file that is no page of prefboost."""
    if target.suffix not in (".html", ".htm"):
        raise RunError("the report is HTML", remedy="name a file that ends in .html", place=Place(str(target)))
    refuse_inputs([target], [path for path in folders if path.is_file()])
    if target.exists() and _MARK not in target.read_text(encoding="utf-8", errors="replace")[:2_000]:
        raise RunError(
            "the file exists, and prefboost did not write it", remedy="give another name", place=Place(str(target))
        )
