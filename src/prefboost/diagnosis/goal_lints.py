"""Lints of goal pairs: whether a file of them says what it teaches."""

from __future__ import annotations

import polars as pl

from prefboost.diagnosis.finding import Finding, found

__all__ = ["goal_unsaid", "half_pairs", "repeated_goal_pair"]


def goal_unsaid(frame: pl.DataFrame) -> Finding | None:
    """Views of one pair have different goals and the same prompt, so the policy cannot know which is asked for.

    That is what the released code of arXiv 2410.08067 writes for models whose chat template has no system role.
    """
    if "goal_pair_key" not in frame.columns:
        return None
    goals = pl.col("goal_key").n_unique().over("pair_key", "said")
    words = (
        "the prompt does not say the goal: views of one pair have different goals and the same prompt",
        "write the file with `prefboost augment`, which says the goal where the chat template keeps it",
    )
    return found(frame, pl.col("goal").is_not_null() & (goals > 1), "goal_unsaid", "error", words)


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
