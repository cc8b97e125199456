"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["AskNothing", "Partial", "Quiet", "StoreFolder"]

Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]

StoreFolder = Annotated[
    Path | None, typer.Option("--store", help="Keep what is finished in this folder, not in OUT.store; may be shared.")
]

AskNothing = Annotated[bool, typer.Option("--dry-run", help="Show what would be asked and its cost, ask nothing.")]

Partial = Annotated[
    bool, typer.Option("--partial", help="Write what is finished so far, ask nothing; works during a run.")
]
