"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AskAgain",
    "AskNothing",
    "OnCores",
    "OnMachines",
    "OneShard",
    "Partial",
    "Quiet",
    "StoreFolder",
    "add_retry",
]

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]

StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Store finished rows here instead of in OUT.store; may be shared: a folder, segments:FOLDER (for NFS; "
        "segments: alone for OUT.store) or an address (s3://...).",
    ),
]

AskNothing = Annotated[bool, typer.Option("--dry-run", help="Show the calls and their cost; ask nothing.")]

OnMachines = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="KEY=VALUE",
        help="With --dry-run, estimate time and price on machines: parameters=70e9 nodes=4 dollars=2.5; one per --on.",
    ),
]

OnCores = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="KEY=VALUE",
        help="With --dry-run, estimate time and price on machines: nodes=4 cores=16 dollars=1.5; one per --on.",
    ),
]

AskAgain = Annotated[
    str | None,
    typer.Option(
        "--retry",
        metavar="failed|refused|none",
        help="Rows without an answer to ask again: failed: all but refused contents (default); refused: those too.",
    ),
]

OneShard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do part I of N (from 0), by a hash of the prompts; prefboost merge joins the parts.",
    ),
]

Partial = Annotated[bool, typer.Option("--partial", help="Write the finished rows, ask nothing; works during a run.")]


def add_retry(overrides: list[str] | None, retry: str | None) -> list[str]:
    """Add the value of ``--retry`` to the overrides."""
    return [*(overrides or []), *([] if retry is None else [f"retry={retry}"])]
