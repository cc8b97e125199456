"""Goal pairs that teach something else than they seem to are named with their rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from prefboost.diagnosis.goal_lints import (
    find_goals_read_alike,
    find_goals_said_alike,
    find_half_pairs,
    find_missing_goals,
    find_repeated_goal_pairs,
)

GOOD = [
    {"pair_key": 1, "goal_pair_key": 1, "goal_key": 7, "goal": 7.0, "exact_prompt": 1, "view": "chosen"},
    {"pair_key": 1, "goal_pair_key": 2, "goal_key": 3, "goal": 3.0, "exact_prompt": 2, "view": "rejected"},
    {"pair_key": 2, "goal_pair_key": 3, "goal_key": 7, "goal": 7.0, "exact_prompt": 3, "view": "chosen"},
    {"pair_key": 2, "goal_pair_key": 4, "goal_key": 1, "goal": 1.0, "exact_prompt": 4, "view": "rejected"},
]


def frame(row: int | None = None, **changed: Any) -> pl.DataFrame:
    rows = [{"row": at, **each} for at, each in enumerate(GOOD)]
    if row is not None:
        rows[row] |= changed
    return pl.DataFrame(rows)


def test_goal_pairs_as_they_should_be_have_no_finding() -> None:
    assert [lint(frame()) for lint in (find_missing_goals, find_repeated_goal_pairs, find_half_pairs)] == [None] * 3
    bare = frame().select("row", "pair_key")
    assert [lint(bare) for lint in (find_missing_goals, find_repeated_goal_pairs, find_half_pairs)] == [None] * 3


def test_two_goals_behind_one_prompt_are_an_error_of_both_rows() -> None:
    finding = find_missing_goals(frame(3, exact_prompt=3))
    assert finding is not None
    assert (finding.severity, finding.rows, finding.of) == ("error", (2, 3), 4)
    assert find_missing_goals(frame(3, exact_prompt=3, goal_key=7)) is None, (
        "the same goal may stand behind the same prompt"
    )
    assert find_missing_goals(frame(3, exact_prompt=3).with_columns(goal=pl.lit(None, dtype=pl.Float64))) is None


def test_the_second_copy_of_a_goal_pair_is_an_error() -> None:
    finding = find_repeated_goal_pairs(frame(3, goal_pair_key=1))
    assert finding is not None
    assert (finding.severity, finding.rows) == ("error", (3,))


def test_a_view_without_its_twin_is_a_note_except_for_ties_and_controls() -> None:
    finding = find_half_pairs(frame(3, pair_key=9))
    assert finding is not None
    assert (finding.severity, finding.rows) == ("note", (2, 3))
    assert find_half_pairs(frame().filter(pl.col("row") < 1).with_columns(view=pl.lit("tie"))) is None


def test_goals_that_are_printed_as_one_number_are_named_as_such_and_not_as_unsaid() -> None:
    alike = frame(3, exact_prompt=3).with_columns(alike=pl.Series([None, None, True, True]))
    finding = find_goals_said_alike(alike)
    assert finding is not None
    assert (finding.severity, finding.rows, finding.of) == ("error", (2, 3), 4)
    assert "augment" not in finding.remedy
    assert find_missing_goals(alike) is None
    assert find_goals_said_alike(frame(3, exact_prompt=3)) is None
    assert find_goals_said_alike(alike.with_columns(goal_key=pl.lit(7))) is None


def test_a_prompt_explains_two_goals_only_by_a_number_that_both_round_to() -> None:
    rows = [
        ("a", 1, 7.004, None, "Overall score: 7."),
        ("a", 1, 7.001, None, "Overall score: 7."),
        ("b", 2, 7.0, None, "What is 7 + 3?"),  # the question holds both numbers, no goal is said
        ("b", 2, 3.0, None, "What is 7 + 3?"),
        ("c", 3, 0.504, None, "Overall score: 0.504."),  # 0.5 is no number of its own here
        ("c", 3, 0.501, None, "Overall score: 0.504."),
        ("d", 4, None, 1.001, "Wit score: 1."),
        ("d", 4, None, 1.002, "Wit score: 1."),
        ("e", 5, 7.0, None, "Overall score: 7."),
        ("e", 6, 3.0, None, "Overall score: 3."),
    ]
    columns = {
        "pair_id": pl.String,
        "exact_prompt": pl.UInt64,
        "goal": pl.Float64,
        "goal.wit": pl.Float64,
        "text": pl.String,
    }
    result = find_goals_read_alike(pl.DataFrame(rows, schema=columns, orient="row")).to_list()
    assert result == [True, True, False, False, False, False, True, True, None, None]
