"""``prefboost evaluate --canary``: has the model behind the judge's name changed?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

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
    from prefboost.cli.score import progress_bars
    from prefboost.errors import SettingsError
    from prefboost.runs.evaluate.canary import canary

    if settings.judge is None:
        raise SettingsError("the canary needs a judge", remedy="write judge=MODEL, or judge.kind=... judge.model=...")
    with progress_bars(hidden=quiet) as tell:
        found = canary(settings.judge, out, spending=settings, tell=tell)
    print(json.dumps(found.record(), indent=2, ensure_ascii=False) if as_json else "\n".join(found.lines()))
