"""``prefboost evaluate --canary``: find changes of the model behind the judge's name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prefboost.cli.bars import show_work
from prefboost.cli.printing import print_report

if TYPE_CHECKING:
    from prefboost.runs.evaluate.settings import Evaluate

__all__ = ["print_canary"]


def print_canary(settings: Evaluate, out: Path, *, as_json: bool = False, quiet: bool = False) -> None:
    """Ask the judge the fifty fixed questions, and print what changed since it was first asked.

    Args:
        settings: the judge, budget and prices.
        out: folder that keeps its verdicts.
        as_json: print the report as JSON.
        quiet: no progress bar.

    Raises:
        SettingsError: no judge is named.
    """
    from prefboost.errors import SettingsError
    from prefboost.runs.evaluate.canary import canary

    if settings.judge is None:
        raise SettingsError("the canary needs a judge", remedy="write judge=MODEL, or judge.kind=... judge.model=...")
    with show_work(hidden=quiet) as tell:
        report = canary(settings.judge, out, spending=settings, tell=tell)
    print_report(report.record(), report.lines(), as_json=as_json)
