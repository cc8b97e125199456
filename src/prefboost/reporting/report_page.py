"""The report page: a verdict, then parts in order, with a list of the parts for which there are no data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import prefboost
from prefboost.reporting.page import render_page
from prefboost.reporting.sections import Section

__all__ = ["ReportPage", "render_report"]


@dataclass(frozen=True)
class ReportPage:
    """Content of the page.

    Args:
        title: heading.
        about: a line below it.
        verdict: sentences on what came out.
        remarks: what a reader must know of them, in small print.
        alarms: reasons to doubt the figures.
        sections: in order.
        missing: part that has no data -> the command that makes them.
        refresh_s: seconds after which a browser reads the page again; None: it is final.
    """

    title: str
    about: str
    verdict: Sequence[str]
    sections: Sequence[Section]
    alarms: Sequence[str] = ()
    remarks: Sequence[str] = ()
    missing: Mapping[str, str] | None = None
    refresh_s: int | None = None


def render_report(page: ReportPage) -> str:
    """Render the page.

    Returns:
        HTML with its style sheet, its script and the plotting library inside; all text of data and models is escaped.
    """
    names = [plot.name for section in page.sections for plot in section.plots]
    assert len(names) == len(set(names)), f"two figures share a name: {names}"
    places = [f"part-{number}-{re.sub('[^a-z]+', '-', section.title.lower())[:24]}"
              for number, section in enumerate(page.sections, 1)]  # fmt: skip
    # A page whose parts need no script has none.
    scripted = bool(names) or any(section.samples for section in page.sections)
    return render_page(
        "report.html",
        {"page": page, "parts": list(zip(places, page.sections, strict=True)), "scripted": scripted,
         "version": prefboost.__version__},
    )  # fmt: skip
