"""Ranks as a source counts them: from 0 or 1, to however many completions a prompt has at most."""

from __future__ import annotations

import math

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import Reader
from prefboost.sources.rows.inner_values import find_holder, read_inner_values
from prefboost.sources.rows.scores import parse_scores

__all__ = ["find_rank_ends"]


def find_rank_ends(reader: Reader, layout: Layout, rows: int | None) -> tuple[float, float] | None:
    """Find the best and the worst rank of a source.

    Runs over the source once, reading only the column that holds the ranks where the format allows it. Only the whole
    source can tell: a batch may lack the worst rank, and ranks from 0 look like ranks from 1 where no best is in it.

    Returns:
        best (at most 1) and worst; None where no two ranks differ.
    """
    holder = find_holder(layout, "rank")
    best, worst = math.inf, -math.inf
    for batch in reader.batches(None if "." in holder else [holder], rows):
        for frame in batch.frames:
            ranks = parse_scores(read_inner_values(frame, layout, "rank"))[0].drop_nulls()
            ranks = ranks.filter(ranks.is_finite())
            if ranks.len():
                best, worst = min(best, float(ranks.min())), max(worst, float(ranks.max()))  # type: ignore[arg-type]
    return (min(best, 1.0), worst) if min(best, 1.0) < worst else None
