"""Goal pairs that teach something else than they seem to are named with their rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.diagnosis.goal_lints import goal_unsaid, half_pairs, repeated_goal_pair

GOOD = [
    {"pair_key": 1, "goal_pair_key": 1, "goal_key": 7, "goal": 7.0, "said": 1, "view": "chosen"},
    {"pair_key": 1, "goal_pair_key": 2, "goal_key": 3, "goal": 3.0, "said": 2, "view": "rejected"},
    {"pair_key": 2, "goal_pair_key": 3, "goal_key": 7, "goal": 7.0, "said": 3, "view": "chosen"},
    {"pair_key": 2, "goal_pair_key": 4, "goal_key": 1, "goal": 1.0, "said": 4, "view": "rejected"},
]


def frame(row: int | None = None, **changed: Any) -> pl.DataFrame:
    rows = [{"row": at, **each} for at, each in enumerate(GOOD)]
    if row is not None:
        rows[row] |= changed
    return pl.DataFrame(rows)


def test_goal_pairs_as_they_should_be_have_no_finding() -> None:
    assert [lint(frame()) for lint in (goal_unsaid, repeated_goal_pair, half_pairs)] == [None] * 3
    bare = frame().select("row", "pair_key")
    assert [lint(bare) for lint in (goal_unsaid, repeated_goal_pair, half_pairs)] == [None] * 3


def test_two_goals_behind_one_prompt_are_an_error_of_both_rows() -> None:
    finding = goal_unsaid(frame(3, said=3))
    assert finding is not None
    assert (finding.severity, finding.rows, finding.of) == ("error", (2, 3), 4)
    assert goal_unsaid(frame(3, said=3, goal_key=7)) is None, "the same goal may stand behind the same prompt"
    assert goal_unsaid(frame(3, said=3).with_columns(goal=pl.lit(None, dtype=pl.Float64))) is None


def test_the_second_copy_of_a_goal_pair_is_an_error() -> None:
    finding = repeated_goal_pair(frame(3, goal_pair_key=1))
    assert finding is not None
    assert (finding.severity, finding.rows) == ("error", (3,))


def test_a_view_without_its_twin_is_a_note_except_for_ties_and_controls() -> None:
    finding = half_pairs(frame(3, pair_key=9))
    assert finding is not None
    assert (finding.severity, finding.rows) == ("note", (2, 3))
    assert half_pairs(frame().filter(pl.col("row") < 1).with_columns(view=pl.lit("tie"))) is None
