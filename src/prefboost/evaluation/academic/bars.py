"""Bars of lm-evaluation-harness as states of work, which the caller shows or leaves out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefboost.progress import Tell, WorkProgress

__all__ = ["forward_bars"]


@contextmanager
def forward_bars(tell: Tell, beginning: str) -> Iterator[None]:
    """Report the bars of tqdm to ``tell`` while the block runs; nothing of them is drawn.

    lm-eval, transformers and datasets draw bars of their own, and lm-eval has no setting that hides all of them.

    Args:
        tell: receives the state of a bar whenever tqdm would draw it.
        beginning: of the names of the bars.
    """
    from tqdm.std import tqdm

    begin, draw = tqdm.__init__, tqdm.display

    def begin_unseen(bar: Any, *args: Any, **options: Any) -> None:
        # A bar that ends writes to its file even where nothing of it was drawn.
        begin(bar, *args, **{**options, "file": io.StringIO()})

    def report(bar: Any, *_: Any, **__: Any) -> bool:
        tell(WorkProgress(f"{beginning}{bar.desc.rstrip(': ') or 'questions'}", bar.total, bar.n))
        return True

    tqdm.__init__, tqdm.display = begin_unseen, report
    try:
        yield
    finally:
        tqdm.__init__, tqdm.display = begin, draw
