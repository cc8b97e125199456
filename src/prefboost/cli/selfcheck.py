"""``prefboost evaluate --selfcheck``: our figures beside published ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer

__all__ = ["DEVIATES", "print_selfcheck"]

DEVIATES = 1
"""Exit code where a deviation is over the allowed one."""


def print_selfcheck(oracles: Path | None, *, as_json: bool = False) -> None:
    """Print a table of every figure that is published in a folder, ours, and how far apart they are.

    Args:
        oracles: the folder; None looks for one.
        as_json: print all figures, not only the farthest of each kind.

    Raises:
        DataError: there is no such folder, or it holds no figures.
        typer.Exit: with `DEVIATES`, where a deviation is over the allowed one.
    """
    from prefboost.evaluation.selfcheck import oracle_folder, selfcheck

    folder = oracle_folder(oracles)
    found = selfcheck(folder, tell=lambda name: print(f"checking {name}", file=sys.stderr))
    print(json.dumps(found.record(), indent=2, ensure_ascii=False) if as_json else "\n".join(found.lines()))
    if not found.is_ok:
        raise typer.Exit(DEVIATES)
