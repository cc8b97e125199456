"""Lints of goal pairs: whether a file of them says what it teaches."""

from __future__ import annotations

import re

import polars as pl

from prefboost.chat import format_number
from prefboost.chat.goal_text import MOST_DECIMALS
from prefboost.diagnosis.finding import Finding, found
from prefboost.tables import aspects_of

__all__ = ["goal_unsaid", "goals_said_alike", "half_pairs", "reads_alike", "repeated_goal_pair"]


def reads_alike(frame: pl.DataFrame) -> pl.Series:
    """Whether a goal pair's prompt prints a goal that another view of the pair rounds to as well.

    Args:
        frame: with pair_id, goal, ``goal.*`` and, of the prompt, ``said`` (a hash) and ``text``.

    Returns:
        True: the prompt is that of another view too, and all their goals are one number at some count of decimals,
        which stands in it; False: the views share a prompt that no goal explains; null: no view shares it.
    """
    goals = ["goal", *(f"goal.{aspect}" for aspect in aspects_of(frame.columns, "goal"))]
    shared = frame.select(pl.struct("pair_id", "said").is_duplicated()).to_series()
    rows = frame.with_row_index("at").filter(shared)
    alike: list[bool | None] = [None] * frame.height
    for group in rows.partition_by("pair_id", "said"):
        numbers = {name: group[name].drop_nulls().to_list() for name in goals}
        told = all(_is_printed(group["text"][0], values) for values in numbers.values() if values)
        for at in group["at"]:
            alike[at] = told and any(numbers.values())
    return pl.Series("alike", alike, dtype=pl.Boolean)


def _is_printed(text: str | None, goals: list[float]) -> bool:
    """Whether all goals are printed as one number that stands in the text."""
    for decimals in range(MOST_DECIMALS + 1):
        printed = {format_number(goal, decimals) for goal in goals}
        if len(printed) == 1 and re.search(rf"(?<![\d.]){re.escape(printed.pop())}(?!\.?\d)", text or ""):
            return True
    return False


def goals_said_alike(frame: pl.DataFrame) -> Finding | None:
    """Views of one pair have different goals that are printed as one number, so that under it both completions win."""
    if "alike" not in frame.columns:
        return None
    words = (
        "the goals of a pair's views differ, but are printed as the same number: under it both completions win",
        "leave these pairs out, they are ties as the policy reads them; or say goals with more decimals "
        "(condition.decimals=4), or on a wider scale (scale=min_max)",
    )
    return found(frame, pl.col("alike") & _several_goals(), "goals_said_alike", "error", words)


def _several_goals() -> pl.Expr:
    return pl.col("goal_key").n_unique().over("pair_key", "said") > 1


def goal_unsaid(frame: pl.DataFrame) -> Finding | None:
    """Views of one pair have different goals and the same prompt, so the policy cannot know which is asked for.

    That is what the released code of arXiv 2410.08067 writes for models whose chat template has no system role.
    """
    if "goal_pair_key" not in frame.columns:
        return None
    known = pl.col("alike").fill_null(False) if "alike" in frame.columns else pl.lit(False)
    alike = known.any().over("pair_key", "said")
    words = (
        "the prompt does not say the goal: views of one pair have different goals and the same prompt",
        "write the file with `prefboost augment`, which says the goal where the chat template keeps it",
    )
    return found(frame, pl.col("goal").is_not_null() & _several_goals() & ~alike, "goal_unsaid", "error", words)


def repeated_goal_pair(frame: pl.DataFrame) -> Finding | None:
    """A goal_pair_id stands there more than once."""
    if "goal_pair_key" not in frame.columns:
        return None
    words = ("the goal_pair_id stands there again", "leave out the second copy: it counts that pair twice")
    return found(frame, ~pl.col("goal_pair_key").is_first_distinct(), "repeated_goal_pair", "error", words)


def half_pairs(frame: pl.DataFrame) -> Finding | None:
    """Only one of the two views of a pair is there, as the high-goal-only control and shards of a file have it."""
    if "view" not in frame.columns:
        return None
    own = pl.col("view").is_in(["chosen", "rejected"])
    views = pl.col("view").filter(own).n_unique().over("pair_key")
    words = (
        "only one of the two views of the pair is there: the policy is not shown what the other score looks like",
        "intended for controls; otherwise give the whole file, or relabel with fraction: 1",
    )
    return found(frame, own & (views == 1), "half_pairs", "note", words)
