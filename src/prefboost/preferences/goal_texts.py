"""The text of every row's goal, and whether two scores of a row are said in the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import polars as pl

from prefboost.chat import PAPER_WORDING, SayGoal, goal_text

__all__ = ["SIDES", "goal_of", "goal_texts", "said_alike", "text_numbers"]

Goal = Mapping[str, str]
"""Aspect -> the column with the score asked for; "" is the overall goal."""

SIDES = ("chosen", "rejected")


def goal_of(side: str, aspects: Sequence[str] = ()) -> Goal:
    """Give the columns that are asked for where the goal is a side's own score."""
    return {name: f"score_{side}.{name}" for name in aspects} or {"": f"score_{side}"}


def goal_texts(frame: pl.DataFrame, say: SayGoal, goal: Goal) -> pl.Series:
    """The wording of each row's goal (`prefboost.chat.goal_text`), null where the row has none."""
    texts, numbers = text_numbers(frame, say, goal)
    return texts.gather(numbers)


def text_numbers(frame: pl.DataFrame, say: SayGoal, goal: Goal) -> tuple[pl.Series, pl.Series]:
    """The different wordings of a frame's goals, and which one each row has.

    Goals that print the same digits are rendered once, so that the cost is one join of numbers.

    Returns:
        texts (null: no goal), each once; and for every row of the frame the place of its text among them.
    """
    names = list(goal.values())
    rounded = frame.select(_rounded(name, say.digits) for name in names)
    asked = rounded.lazy().unique(maintain_order=True).collect()
    wordings = pl.Series(
        [_render_once(say, tuple(zip(goal, numbers, strict=True))) for numbers in asked.iter_rows()], dtype=pl.String
    )
    texts = wordings.unique(maintain_order=True)
    places = pl.DataFrame({"text": texts}).with_row_index("place")
    asked = asked.with_columns(text=wordings).join(places, on="text", how="left", nulls_equal=True)
    found = rounded.join(asked.drop("text"), on=names, how="left", nulls_equal=True, maintain_order="left")
    return texts, found["place"]


def said_alike(frame: pl.DataFrame, say: SayGoal, first: Goal, second: Goal) -> pl.Series:
    """Whether two goals of a row are said in the same words, though their scores may differ.

    Args:
        frame: with the columns of both goals.
        say: wording and number format.
        first: the columns of one goal.
        second: those of the other, of the same aspects.

    Returns:
        booleans; False where a side has no goal at all.
    """
    if say.wording != PAPER_WORDING:
        one, other = (goal_texts(frame, say, goal) for goal in (first, second))
        return (one == other).fill_null(False).rename("alike")
    # The published wording prints every number, so that texts are equal where the digits are.
    equal = [_rounded(first[name], say.digits).eq_missing(_rounded(second[name], say.digits)) for name in first]
    some = pl.any_horizontal(pl.col(name).is_not_null() for name in first.values())
    return frame.select((pl.all_horizontal(equal) & some).alias("alike")).to_series()


def _rounded(name: str, digits: int) -> pl.Expr:
    """`prefboost.chat.goal_text.round_number` of a column, by the same arithmetic."""
    size = (pl.col(name).abs() * 10**digits + 0.5).floor() / 10**digits
    return pl.when(pl.col(name) < 0).then(-size).otherwise(size).alias(name)


@lru_cache(maxsize=1 << 16)
def _render_once(say: SayGoal, goal: tuple[tuple[str, float | None], ...]) -> str | None:
    """The wording of one goal; scores repeat from batch to batch, so that a text is rendered once."""
    aspects = {name: value for name, value in goal if name}
    overall = next((value for name, value in goal if not name), None)
    if overall is None and all(value is None for value in aspects.values()):
        return None
    return goal_text(say, overall, aspects)
