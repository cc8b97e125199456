"""The declared tables and their facts."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import BrokenFact
from prefboost.tables import GOAL_PAIRS, MESSAGES, PREFERENCE_PAIRS, TABLES, conform

SCORE = st.integers(1, 10)


def goal_pair(goal: float | None, score_chosen: float, score_rejected: float, **more: object) -> pl.DataFrame:
    said = [{"role": "assistant", "content": "a", "extra": None}]
    other = [{"role": "assistant", "content": "b", "extra": None}]
    near, far = (None, None) if goal is None else (abs(goal - score_chosen), abs(goal - score_rejected))
    row = {
        "goal_pair_id": "p/1", "row": 0, "pair_id": "p", "prompt_id": "q",
        "prompt": [{"role": "user", "content": "?", "extra": None}], "chosen": said, "rejected": other,
        "score_chosen": score_chosen, "score_rejected": score_rejected, "view": "chosen", "flipped": False,
        "goal": goal, "distance_chosen": near, "distance_rejected": far, **more,
    }  # fmt: skip
    types = {column.name: column.dtype for column in GOAL_PAIRS.columns if column.name in row}
    return pl.DataFrame([row], schema_overrides=types)


@given(SCORE, SCORE, SCORE)
def test_a_goal_pair_conforms_exactly_if_chosen_is_at_least_as_near_the_goal(
    goal: int, chosen: int, rejected: int
) -> None:
    frame = goal_pair(float(goal), float(chosen), float(rejected))
    if abs(goal - chosen) <= abs(goal - rejected):
        assert conform(frame, GOAL_PAIRS).height == 1
    else:
        with pytest.raises(BrokenFact, match="at least as near the goal"):
            conform(frame, GOAL_PAIRS)


def test_stored_distances_do_not_hide_a_label_that_was_not_flipped() -> None:
    with pytest.raises(BrokenFact):
        conform(goal_pair(2.0, 9.0, 2.0, distance_chosen=0.0, distance_rejected=0.0), GOAL_PAIRS)


def test_two_equal_completions_are_no_pair() -> None:
    same = [{"role": "assistant", "content": "a", "extra": None}]
    with pytest.raises(BrokenFact, match="differ"):
        conform(goal_pair(9.0, 9.0, 2.0, rejected=same), GOAL_PAIRS)


def test_the_plain_control_has_no_goal() -> None:
    assert conform(goal_pair(None, 9.0, 2.0, view="plain"), GOAL_PAIRS).height == 1


@pytest.mark.parametrize("spec", TABLES.values(), ids=lambda spec: spec.name)
def test_every_column_is_described_and_the_key_is_one_of_them(spec: object) -> None:
    columns = {column.name: column for column in spec.columns}  # type: ignore[attr-defined]
    assert all(column.doc for column in columns.values())
    assert spec.key in columns  # type: ignore[attr-defined]
    assert columns["prompt"].dtype == MESSAGES


@pytest.mark.parametrize(
    ("column", "value", "fine"),
    [
        ("chosen_wins", 0.7, True),
        ("chosen_wins", None, True),
        ("chosen_wins", 1.2, False),
        ("chosen_wins", float("nan"), False),
        ("pair_weight", 3.0, True),
        ("pair_weight", -1.0, False),
    ],
)
def test_probabilities_and_weights_of_pairs_stay_in_their_range(column: str, value: float | None, fine: bool) -> None:
    frame = goal_pair(9.0, 9.0, 2.0).with_columns(pl.lit(value, dtype=pl.Float64).alias(column))
    if fine:
        assert conform(frame, PREFERENCE_PAIRS)[column].to_list() == [value]
    else:
        with pytest.raises(BrokenFact, match=column):
            conform(frame, PREFERENCE_PAIRS)
