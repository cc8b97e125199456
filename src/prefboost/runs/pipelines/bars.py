"""Progress of generating and scoring, told to the bar that training uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from prefboost.runs.generate.generate import Progress as Generated
from prefboost.scoring.stored import ScoreProgress

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["generating", "scoring"]


def generating(progress: Progress | None) -> Callable[[Generated], None]:
    """What `generate` tells, for a bar; None shows nothing."""
    last = [0, 0]

    def tell(now: Generated) -> None:
        if progress is None:
            return
        if now.done == 0:
            progress.begin("completions", now.rows)
            last[:] = [0, 0]
            return
        progress.advance(now.done - last[0], tokens=float(now.tokens - last[1]))
        last[:] = [now.done, now.tokens]
        if now.done == now.rows:
            progress.end()

    return tell


def scoring(progress: Progress | None) -> Callable[[ScoreProgress], None]:
    """What `score` tells, for a bar; None shows nothing."""
    last = [0]

    def tell(now: ScoreProgress) -> None:
        if progress is None:
            return
        if now.done == 0:
            progress.begin(now.stage, now.sequences)
            last[0] = 0
            return
        progress.advance(now.done - last[0])
        last[0] = now.done
        if now.done == now.sequences:
            progress.end()

    return tell
