"""Goals as text: what is rendered once, and which scores read alike."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.chat import SayGoal, goal_text
from prefboost.preferences.goal_texts import find_equal_wordings, number_goal_texts, write_goal_texts

SAYS = st.sampled_from(
    [
        SayGoal(),
        SayGoal(decimals=0),
        SayGoal(low=0.0, high=1.0),
        SayGoal(levels=("poor", "fair", "good")),
        SayGoal(wording="Aim for {{ goal.split(' ')[0] }}", levels=("poor", "good")),
        SayGoal(wording="Write well."),
    ]
)
close = st.floats(-2, 12).map(lambda score: round(score, 3))
maybe = st.one_of(st.none(), close)


@given(st.lists(st.tuples(maybe, maybe), min_size=1, max_size=20), SAYS)
def test_texts_and_likeness_are_those_that_engines_would_say(
    scores: list[tuple[float | None, float | None]], say: SayGoal
) -> None:
    frame = pl.DataFrame(scores, schema={"one": pl.Float64, "other": pl.Float64}, orient="row")
    expected = [[None if score is None else goal_text(say, score) for score in pair] for pair in scores]
    texts, numbers = number_goal_texts(frame, say, {"": "one"})
    assert texts.gather(numbers).to_list() == [one for one, _ in expected]
    assert write_goal_texts(frame, say, {"": "other"}).to_list() == [other for _, other in expected]
    assert texts.is_unique().all()
    alike = find_equal_wordings(frame, say, {"": "one"}, {"": "other"})
    assert alike.to_list() == [one is not None and one == other for one, other in expected]


def test_aspects_read_alike_only_where_all_of_them_do() -> None:
    columns = {"a1": [1.001, 1.0, None], "a2": [1.002, 1.5, 1.0], "b1": [3.0, 2.0, 2.0], "b2": [3.0, 2.0, 2.0]}
    first, second = {"a": "a1", "b": "b1"}, {"a": "a2", "b": "b2"}
    assert find_equal_wordings(pl.DataFrame(columns), SayGoal(), first, second).to_list() == [True, False, False]


@pytest.mark.parametrize("say", [SayGoal(), SayGoal(wording="{{ goal }}")])
def test_an_empty_frame_has_no_texts(say: SayGoal) -> None:
    nothing = pl.DataFrame(schema={"one": pl.Float64, "other": pl.Float64})
    assert find_equal_wordings(nothing, say, {"": "one"}, {"": "other"}).to_list() == []
