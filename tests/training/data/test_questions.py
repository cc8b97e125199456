"""One question has one id, however it is called, so that a split by prompt parts none."""

from __future__ import annotations

from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.training.data.questions import settle_prompt_ids
from prefboost.training.data.units import split_by_prompt

Spot = Literal["system", "user", "after"]
asked = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from([1.0, 7.25, 10.0])), min_size=1)


def table(rows: list[tuple[Any, int, float | None]], say: SayGoal, spot: Spot) -> pa.Table:
    made = []
    for given_id, question, goal in rows:
        plain = [{"role": "system", "content": "Be brief.", "extra": None}] if question % 2 else []
        plain.append({"role": "user", "content": f"question {question}", "extra": None})
        prompt = plain if goal is None else place_goal(plain, goal_text(say, goal), spot)
        made.append({"prompt_id": f"id{given_id}", "prompt": prompt, "goal": goal})
    return pa.Table.from_pylist(made)


@pytest.mark.parametrize("spot", ["system", "user", "after"])
@given(asked, st.floats(0.05, 0.9))
def test_no_question_is_on_both_sides_of_a_split_whatever_its_ids_and_goals(
    spot: Spot, rows: list[tuple[int, int, float]], fraction: float
) -> None:
    say = SayGoal(place=spot)
    settled = settle_prompt_ids(table(list(rows), say, spot), say)
    named = settled["prompt_id"].to_pylist()
    for ids in (
        {(own, new) for (own, _, _), new in zip(rows, named, strict=True)},
        {(question, new) for (_, question, _), new in zip(rows, named, strict=True)},
    ):
        assert len(ids) == len({key for key, _ in ids})
    kept, aside = split_by_prompt(settled, fraction, 0)
    questions = [
        {row["prompt"][-1]["content"].replace(goal_text(say, row["goal"]), "").strip() for row in side.to_pylist()}
        for side in (kept, aside)
        if side is not None
    ]
    assert len(questions) == 1 or not questions[0] & questions[1]


def test_ids_that_agree_with_the_prompts_stay_as_they_are() -> None:
    say = SayGoal(place="system")
    rows = table([(n // 2, n // 2, goal) for n, goal in enumerate((7.0, 3.0, 7.0, 1.0, None, None))], say, "system")
    assert settle_prompt_ids(rows, say).equals(rows)
    assert settle_prompt_ids(rows, None).equals(rows)


def test_one_prompt_under_two_ids_gets_one_of_them() -> None:
    rows = table([("b", 0, 7.0), ("a", 0, 3.0), ("c", 1, None)], SayGoal(), "system")
    assert settle_prompt_ids(rows, None)["prompt_id"].to_pylist() == ["ida", "ida", "idc"]
