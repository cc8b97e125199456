"""Lints of goal pairs: the prompt must name the goal by which its completions are ranked."""

from __future__ import annotations

import re

import polars as pl

from prefboost.chat import format_number
from prefboost.chat.goal_text import MOST_DECIMALS
from prefboost.diagnosis.finding import Finding, build_finding
from prefboost.tables import aspects_of

__all__ = [
    "find_missing_goals",
    "find_goals_said_alike",
    "find_half_pairs",
    "find_goals_read_alike",
    "find_repeated_goal_pairs",
]


def find_goals_read_alike(frame: pl.DataFrame) -> pl.Series:
    """Find goal pairs whose prompt prints a goal that another view of the pair rounds to as well.

    Args:
        frame: with pair_id, goal, ``goal.*`` and, of the prompt, ``exact_prompt`` (a hash) and ``text``.

    Returns:
        True: another view has the same prompt, and at some number of decimals all their goals are one number, which the
        prompt contains; False: the views share a prompt that no goal explains; null: no view shares it.
    """
    goals = ["goal", *(f"goal.{aspect}" for aspect in aspects_of(frame.columns, "goal"))]
    shared = frame.select(pl.struct("pair_id", "exact_prompt").is_duplicated()).to_series()
    rows = frame.with_row_index("at").filter(shared)
    alike: list[bool | None] = [None] * frame.height
    for group in rows.partition_by("pair_id", "exact_prompt"):
        numbers = {name: group[name].drop_nulls().to_list() for name in goals}
        is_printed = all(_is_printed(group["text"][0], values) for values in numbers.values() if values)
        for at in group["at"]:
            alike[at] = is_printed and any(numbers.values())
    return pl.Series("alike", alike, dtype=pl.Boolean)


def _is_printed(text: str | None, goals: list[float]) -> bool:
    """Return whether all goals are printed as one number that the text contains."""
    for decimals in range(MOST_DECIMALS + 1):
        printed = {format_number(goal, decimals) for goal in goals}
        if len(printed) == 1 and re.search(rf"(?<![\d.]){re.escape(printed.pop())}(?!\.?\d)", text or ""):
            return True
    return False


def find_goals_said_alike(frame: pl.DataFrame) -> Finding | None:
    """Find views of a pair whose different goals are printed as one number, under which both completions win."""
    if "alike" not in frame.columns:
        return None
    words = (
        "the goals of a pair's views differ, but are printed as the same number: under it both completions win",
        "leave these pairs out, they are ties as the policy reads them; or say goals with more decimals "
        "(condition.decimals=4), or on a wider scale (scale=min_max)",
    )
    return build_finding(frame, pl.col("alike") & _has_several_goals(), "goals_said_alike", "error", words)


def _has_several_goals() -> pl.Expr:
    return pl.col("goal_key").n_unique().over("pair_key", "exact_prompt") > 1


def find_missing_goals(frame: pl.DataFrame) -> Finding | None:
    """Find views of a pair with different goals and the same prompt: the policy cannot know which is meant.

    That is what the released code of arXiv 2410.08067 writes for models whose chat template has no system role.
    """
    if "goal_pair_key" not in frame.columns:
        return None
    is_alike = pl.col("alike").fill_null(False) if "alike" in frame.columns else pl.lit(False)
    alike = is_alike.any().over("pair_key", "exact_prompt")
    words = (
        "the prompt does not say the goal: views of one pair have different goals and the same prompt",
        "write the file with `prefboost augment`, which says the goal where the chat template keeps it",
    )
    return build_finding(
        frame, pl.col("goal").is_not_null() & _has_several_goals() & ~alike, "goal_unsaid", "error", words
    )


def find_repeated_goal_pairs(frame: pl.DataFrame) -> Finding | None:
    """Find ids of goal pairs that occur more than once."""
    if "goal_pair_key" not in frame.columns:
        return None
    words = ("the goal_pair_id occurs again", "leave out the second copy: it counts that pair twice")
    return build_finding(frame, ~pl.col("goal_pair_key").is_first_distinct(), "repeated_goal_pair", "error", words)


def find_half_pairs(frame: pl.DataFrame) -> Finding | None:
    """Find pairs of which only one view is present, as in the high-goal-only control and in shards of a file."""
    if "view" not in frame.columns:
        return None
    is_side = pl.col("view").is_in(["chosen", "rejected"])
    views = pl.col("view").filter(is_side).n_unique().over("pair_key")
    words = (
        "only one of the two views of the pair is there: the policy is not shown what the other score looks like",
        "intended for controls; otherwise give the whole file, or relabel with fraction: 1",
    )
    return build_finding(frame, is_side & (views == 1), "half_pairs", "note", words)
