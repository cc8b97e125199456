"""Write the text of every row's goal, and find rows whose two goals have the same text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import polars as pl

from prefboost.chat import PAPER_WORDING, SayGoal, goal_text

__all__ = ["SIDES", "name_goal_columns", "write_goal_texts", "find_equal_wordings", "number_goal_texts"]

Goal = Mapping[str, str]
"""Aspect -> the column with the score asked for; "" is the overall goal."""

SIDES = ("chosen", "rejected")


def name_goal_columns(side: str, aspects: Sequence[str] = ()) -> Goal:
    """Give the columns that are asked for where the goal is a side's own score."""
    return {name: f"score_{side}.{name}" for name in aspects} or {"": f"score_{side}"}


def write_goal_texts(frame: pl.DataFrame, say: SayGoal, goal: Goal) -> pl.Series:
    """Write the wording of each row's goal (`prefboost.chat.goal_text`); null where the row has none."""
    texts, numbers = number_goal_texts(frame, say, goal)
    return texts.gather(numbers)


def number_goal_texts(frame: pl.DataFrame, say: SayGoal, goal: Goal) -> tuple[pl.Series, pl.Series]:
    """Write each different wording of a frame's goals once, and number the rows by it.

    Goals that print the same digits are rendered once, so that the cost is one join of numbers.

    Returns:
        texts (null: no goal), each once; and for every row of the frame the place of its text among them.
    """
    names = list(goal.values())
    rounded = frame.select(_round_column(name, say.digits) for name in names)
    goals = rounded.lazy().unique(maintain_order=True).collect()
    wordings = pl.Series(
        [_render_once(say, tuple(zip(goal, numbers, strict=True))) for numbers in goals.iter_rows()], dtype=pl.String
    )
    texts = wordings.unique(maintain_order=True)
    places = pl.DataFrame({"text": texts}).with_row_index("place")
    goals = goals.with_columns(text=wordings).join(places, on="text", how="left", nulls_equal=True)
    numbered = rounded.join(goals.drop("text"), on=names, how="left", nulls_equal=True, maintain_order="left")
    return texts, numbered["place"]


def find_equal_wordings(frame: pl.DataFrame, say: SayGoal, first: Goal, second: Goal) -> pl.Series:
    """Find rows whose two goals have the same text, though their scores may differ.

    Args:
        frame: with the columns of both goals.
        say: wording and number format.
        first: the columns of one goal.
        second: those of the other, of the same aspects.

    Returns:
        booleans; False where a side has no goal at all.
    """
    if say.wording != PAPER_WORDING:
        first_texts, second_texts = (write_goal_texts(frame, say, goal) for goal in (first, second))
        return (first_texts == second_texts).fill_null(False).rename("alike")
    # The published wording prints every number, so that texts are equal where the digits are.
    equal = [
        _round_column(first[name], say.digits).eq_missing(_round_column(second[name], say.digits)) for name in first
    ]
    some = pl.any_horizontal(pl.col(name).is_not_null() for name in first.values())
    return frame.select((pl.all_horizontal(equal) & some).alias("alike")).to_series()


def _round_column(name: str, digits: int) -> pl.Expr:
    """Round a column as `prefboost.chat.goal_text.round_number` does, by the same arithmetic."""
    size = (pl.col(name).abs() * 10**digits + 0.5).floor() / 10**digits
    return pl.when(pl.col(name) < 0).then(-size).otherwise(size).alias(name)


@lru_cache(maxsize=1 << 16)
def _render_once(say: SayGoal, goal: tuple[tuple[str, float | None], ...]) -> str | None:
    """Render one goal; scores repeat from batch to batch, so that a text is rendered once."""
    aspects = {name: value for name, value in goal if name}
    overall = next((value for name, value in goal if not name), None)
    if overall is None and all(value is None for value in aspects.values()):
        return None
    return goal_text(say, overall, aspects)
