"""The expressions of shapes: what they select, which rows they refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from prefboost.sources.writers.shapes import (
    ONE_ANSWER,
    ONLY_TEXT,
    SAME_TRIMMED,
    TURNS,
    shape_ms_swift,
    shape_open_instruct,
    shape_tinker,
)


def said(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text, "extra": None} for text in texts]


@pytest.mark.parametrize(
    ("refusal", "changed"),
    [
        (ONLY_TEXT, {"chosen": [{"role": "assistant", "content": "", "extra": json.dumps({"tool_calls": [{}]})}]}),
        (ONE_ANSWER, {"rejected": said("one", "two")}),
        (SAME_TRIMMED, {"chosen": said("yes\n"), "rejected": said("yes")}),
        (TURNS, {"prompt": [{"role": "user", "content": "a", "extra": None}] * 2}),
    ],
)
def test_a_refusal_holds_for_the_rows_that_it_describes_and_no_others(
    refusal: Any, changed: dict[str, Any], goal_row: Callable[..., Any], goal_table: Callable[..., Any]
) -> None:
    frame = goal_table([goal_row(0), goal_row(1, **changed)]).frame
    assert frame.select(refusal.holds()).to_series().to_list() == [False, True]


def test_whole_conversations_hold_the_prompt_and_one_completion(goal_table: Callable[..., Any]) -> None:
    frame = goal_table(1).frame
    swift, instruct = (
        frame.select(select(frame.columns)).to_dicts() for select in (shape_ms_swift, shape_open_instruct)
    )
    for row, other in zip(swift, instruct, strict=True):
        assert row["messages"] == other["chosen"]
        assert row["rejected_messages"] == other["rejected"]
        assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
        assert "margin" not in row


def test_the_label_of_a_comparison_names_the_winner_under_the_goal(goal_table: Callable[..., Any]) -> None:
    frame = goal_table(1).frame
    rows = frame.select(shape_tinker(frame.columns)).to_dicts()
    assert [row["label"] for row in rows] == ["A", "A"]
    assert [row["comparison"]["completion_A"][0]["content"] for row in rows] == ["good 0", "bad 0"]
    assert [row["goal"] for row in rows] == [7.0, 3.0]
