"""Scores find their way back into the table they belong to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scoring.conftest import completions_table, pairs_table

from prefboost.errors import DataError, ModelError
from prefboost.scoring.sides import (
    ItemNumbers,
    ScoredItem,
    ScoredItems,
    Scores,
    list_scored_items,
    read_item_scores,
    with_scores,
)
from prefboost.tables import GOAL_PAIRS, PREFERENCE_PAIRS, SCORED_COMPLETIONS, Table


def test_a_pair_is_two_items_and_a_completion_one() -> None:
    pairs = list_scored_items(pairs_table([("q", "a", "b"), ("r", "c", "d")]))
    assert [(item.row, item.side, item.completion[0]["content"]) for item in pairs] == [
        (0, "chosen", "a"), (0, "rejected", "b"), (1, "chosen", "c"), (1, "rejected", "d"),
    ]  # fmt: skip
    [item] = list_scored_items(completions_table([("q", "a")]))
    assert item.side == "completion" and item.prompt[0]["content"] == "q" and not item.cut


def test_items_are_built_again_by_their_indices() -> None:
    items = ScoredItems(pairs_table([("q", "a", "b"), ("r", "c", "d"), ("s", "e", "f")]))
    every = list(items)
    assert len(items) == len(every) == 6 and items.take([4, 0, 5, 4]) == [every[at] for at in (4, 0, 5, 4)]
    assert [items.find_index(item) for item in every] == list(range(6))
    assert [items.find_key(at) for at in range(6)] == [(item.row, item.side) for item in every]


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 30), st.sampled_from(["chosen", "rejected"])),
        st.lists(st.none() | st.floats(), min_size=2, max_size=2),
        max_size=20,
    )
)
def test_numbers_come_back_as_they_were_set_in_any_order(numbers: dict[tuple[int, str], list[float | None]]) -> None:
    held = ItemNumbers(numbers)
    assert bool(held) == bool(numbers)
    for side in ("chosen", "rejected"):
        for head in (0, 1):
            wanted = [numbers[row, side][head] if (row, side) in numbers else None for row in range(31)]
            assert repr(held.build_column(side, head, 31).to_list()) == repr(wanted)
    for key, values in numbers.items():
        assert repr(held.list_numbers(key)) == repr(values)


def test_completions_with_other_numbers_of_numbers_are_refused() -> None:
    held = ItemNumbers({(0, "chosen"): [1.0, 2.0]})
    with pytest.raises(ValueError, match="1 numbers of a completion, 2 of those before it"):
        held[1, "chosen"] = [1.0]


def test_the_first_fault_of_a_row_is_that_of_its_first_side_whichever_came_first() -> None:
    table = pairs_table([("q", "a", "b"), ("r", "c", "d")])
    scores = Scores(
        values=ItemNumbers({(0, side): [1.0] for side in ("chosen", "rejected")}),
        faults={(1, "rejected"): ("late", ""), (1, "chosen"): ("early", "")},
    )
    assert dict(with_scores(table, scores, {}, {}, None).steps[-1].rejected) == {"early": 1}


def test_other_tables_are_refused() -> None:
    table = pairs_table([("q", "a", "b")])
    with pytest.raises(DataError, match="found GoalPairs"):
        list_scored_items(Table(GOAL_PAIRS, table.frame))


def test_earlier_scores_are_replaced_and_aspects_get_columns() -> None:
    table = completions_table([("q", "a"), ("q", "b")])
    values = {(0, "completion"): [1.0, 2.0], (1, "completion"): [3.0, None]}
    once = with_scores(table, Scores(["", "style"], ItemNumbers(values)), {}, {}, None)
    assert once.spec is SCORED_COMPLETIONS
    assert once.frame["score"].to_list() == [1.0, 3.0] and once.frame["score.style"].to_list() == [2.0, None]
    again = with_scores(
        once, Scores([""], ItemNumbers({(0, "completion"): [5.0], (1, "completion"): [6.0]})), {}, {}, None
    )
    assert again.frame["score"].to_list() == [5.0, 6.0] and "score.style" not in again.frame.columns


def test_rows_with_a_fault_or_an_infinite_score_are_rejects() -> None:
    table = pairs_table([("q", "a", "b"), ("r", "c", "d"), ("s", "e", "f")])
    values = {(row, side): [1.0] for row in range(3) for side in ("chosen", "rejected")}
    values[1, "rejected"] = [float("nan")]
    scores = Scores(values=ItemNumbers(values), faults={(2, "chosen"): ("too long", "99 tokens")})
    scored = with_scores(table, scores, {}, {}, None)
    assert scored.spec is PREFERENCE_PAIRS and scored.frame["pair_id"].to_list() == ["p0"]
    assert dict(scored.steps[-1].rejected) == {"too long": 1, "the model gave a score that is not finite": 1}
    assert set(scored.rejects["found"].to_list()) == {"99 tokens", "[nan]"}


def test_a_refusal_of_the_chat_template_is_a_fault_of_that_row_alone() -> None:
    scores = Scores()
    item = ScoredItem(3, "chosen", [], [], cut=False)

    def refuse(_: ScoredItem) -> int:
        raise ModelError("no system role", remedy="")

    assert scores.try_item(item, refuse) is None
    assert scores.faults == {(3, "chosen"): ("the chat template refuses the messages", "no system role")}
    assert scores.try_item(item, lambda each: each.row) == 3


def test_the_scores_of_items_are_those_of_their_sides() -> None:
    table = completions_table([("q", "a"), ("q", "b")])
    assert read_item_scores(table, list_scored_items(table)) == [None, None]
    values = {(0, "completion"): [1.0], (1, "completion"): [3.0]}
    scored = with_scores(table, Scores(values=ItemNumbers(values)), {}, {}, None)
    assert read_item_scores(scored, list_scored_items(scored)) == [1.0, 3.0]
    pairs = pairs_table([("q", "a", "b"), ("r", "c", "d")])
    values = {(row, side): [row + (side == "chosen") / 2] for row in range(2) for side in ("chosen", "rejected")}
    rated = with_scores(pairs, Scores(values=ItemNumbers(values)), {}, {}, None)
    items = list_scored_items(rated)
    assert read_item_scores(rated, items[::-1]) == [values[item.row, item.side][0] for item in items[::-1]]
