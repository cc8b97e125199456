"""A table of any origin is refused where one printed goal has two winners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.conftest import CHATML, build_pairs, build_tokenizer

from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import BrokenFact
from prefboost.training.policy.one_winner import Winners
from prefboost.training.policy.tokenise import TokenLimits, tokenise

OPEN = TokenLimits(None, None)
ENCODER = ChatEncoder(build_tokenizer())
NO_SYSTEM = ChatEncoder(
    build_tokenizer(
        CHATML.replace("{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}")
    )
)


def told_alike(rows: list[dict[str, Any]]) -> None:
    """The goals differ by less than is printed, so that both prompts read alike."""
    rows[1]["prompt"] = rows[0]["prompt"]


def told_alike_under_other_ids(rows: list[dict[str, Any]]) -> None:
    told_alike(rows)
    rows[1]["pair_id"] = "another"


def without_goals(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["goal"] = None
        row["prompt"] = row["prompt"][-1:]


def without_scores(rows: list[dict[str, Any]]) -> None:
    told_alike(rows)
    for row in rows:
        row["score_chosen"] = row["score_rejected"] = None


@pytest.mark.parametrize("spoil", [told_alike, told_alike_under_other_ids, without_goals, without_scores])
def test_a_foreign_table_in_which_one_goal_has_two_winners_is_refused_with_its_rows(
    spoil: Callable[[list[dict[str, Any]]], None],
) -> None:
    pairs = build_pairs(3)
    rows = pairs.to_pylist()
    spoil(rows)
    with pytest.raises(BrokenFact, match=r"both completions of a pair win: rows 0 and 1\b") as caught:
        tokenise(pa.Table.from_pylist(rows, schema=pairs.schema), ENCODER, OPEN)
    assert caught.value.place is not None and caught.value.place.row == 0


def test_a_template_that_loses_the_goal_is_found_out_by_what_it_renders() -> None:
    with pytest.raises(BrokenFact, match="rows 0 and 1, 2 and 3, 4 and 5; the first reads"):
        tokenise(build_pairs(3), NO_SYSTEM, OPEN)


def test_judges_and_people_may_disagree_on_different_pairs() -> None:
    winners = Winners()
    row = {"pair_id": "a", "chosen": "x", "rejected": "y", "goal": 8.0, "score_chosen": 8.0, "score_rejected": 3.0}
    winners.add(0, row, "Score 8. q")
    winners.add(1, {**row, "pair_id": "b", "chosen": "y", "rejected": "x", "score_rejected": 4.0}, "Score 8. q")
    people = {"pair_id": "c", "chosen": "x", "rejected": "y", "goal": None}
    winners.add(2, people, "q")
    winners.add(3, {**people, "pair_id": "d", "chosen": "y", "rejected": "x"}, "q")
    winners.add(4, people, "q")  # a copy
    winners.refuse_conflicts()


@given(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("78"), st.booleans()), max_size=12))
def test_it_refuses_just_where_a_pair_has_two_winners_under_one_text(
    shown: list[tuple[str, str, bool]],
) -> None:
    winners = Winners()
    for number, (pair, goal, flipped) in enumerate(shown):
        first, second = (f"{pair} bad", f"{pair} good") if flipped else (f"{pair} good", f"{pair} bad")
        winners.add(number, {"pair_id": pair, "chosen": first, "rejected": second, "goal": 1.0}, goal)
    both = {(pair, goal) for pair, goal, flipped in shown if flipped} & {
        (pair, goal) for pair, goal, flipped in shown if not flipped
    }
    if not both:
        winners.refuse_conflicts()
        return
    with pytest.raises(BrokenFact, match="both completions of a pair win"):
        winners.refuse_conflicts()
