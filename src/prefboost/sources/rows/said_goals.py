"""Pairs whose prompts ask for a score already: they were relabelled, so another relabelling would undo it."""

from __future__ import annotations

import polars as pl

from prefboost.chat.goal_text import SAID_GOAL
from prefboost.errors import DataError, Place
from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import ROW
from prefboost.sources.rows.parts import read_column, read_messages
from prefboost.sources.rows.scores import parse_scores

__all__ = ["refuse_said_goals"]

LOOKED_AT = 200


def refuse_said_goals(sample: pl.DataFrame, layout: Layout, path: str) -> None:
    """Refuse pairs most of whose prompts say a goal in the published wording (arXiv 2410.08067, released code).

    Args:
        sample: the first records.
        layout: of pairs; other shapes pass.
        path: for the message.

    Raises:
        DataError: more than half of the prompts ask for a score. Where a label contradicts its goal, as the released
            code writes it for models without a system role, the message names the first such row.
    """
    if layout.shape != "pairs":
        return
    rows = sample.head(LOOKED_AT)
    spoken = {
        part: read_messages(rows, layout, part, "user")[0] for part in ("prompt", "chosen") if part in layout.parts
    }
    texts = [pl.col(part).list.eval(pl.element().struct.field("content")).list.join("\n") for part in spoken]
    goal = pl.coalesce(text.str.extract(SAID_GOAL) for text in texts).cast(pl.Float64, strict=False)
    scores = {
        side: parse_scores(read_column(rows, layout.parts.get(f"score_{side}")))[0].alias(side)
        for side in ("chosen", "rejected")
    }
    goals = pl.DataFrame(spoken).select(row=rows[ROW], goal=goal).with_columns(**scores).drop_nulls("goal")
    if goals.height * 2 <= rows.height:
        return
    nearer = (pl.col("goal") - pl.col("rejected")).abs() < (pl.col("goal") - pl.col("chosen")).abs()
    wrong = goals.filter(nearer)
    contradictions = ""
    if wrong.height:
        row, goal, chosen, rejected = wrong.row(0)
        contradictions = (
            f", and {wrong.height:,} of them prefer the completion that is farther from it: row {row} asks for "
            f"{goal:g} and prefers a completion scored {chosen:g} to one scored {rejected:g}"
        )
    raise DataError(
        f"the prompts of {goals.height:,} of the first {rows.height:,} pairs ask for a score already" + contradictions,
        remedy="read the data they were made from: `prefboost augment` writes the goals and flips the labels itself",
        place=Place(path, column=layout.parts[next(iter(spoken))]),
    )
