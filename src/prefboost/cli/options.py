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
    "RecipeName",
    "RunsFolder",
    "StoreFolder",
    "add_retry",
]

RecipeName = Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe (`prefboost show`).")]

RunsFolder = Annotated[Path, typer.Option(help="Folder of all run folders; this run's is named after the recipe.")]

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

_ON = "With --dry-run, estimate time and price on machines: {}; one per --on."

OnMachines = Annotated[
    list[str] | None,
    typer.Option("--on", metavar="KEY=VALUE", help=_ON.format("parameters=70e9 nodes=4 dollars=2.5")),
]

OnCores = Annotated[
    list[str] | None, typer.Option("--on", metavar="KEY=VALUE", help=_ON.format("nodes=4 cores=16 dollars=1.5"))
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
