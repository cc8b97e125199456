"""How a goal is said."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from prefboost.chat import SayGoal, format_number, goal_text, place_goal
from prefboost.chat.goal_text import SAID_GOAL, round_number

PROMPT = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Yes?"},
    {"role": "user", "content": "Go"},
]


@pytest.mark.parametrize(
    ("value", "text"), [(7.0, "7"), (8.5, "8.5"), (10, "10"), (3.669999, "3.67"), (-0.001, "0"), (100, "100")]
)
def test_numbers_print_as_the_paper_prints_them(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize(("value", "text"), [(3.125, "3.13"), (-3.125, "-3.13"), (0.005, "0.01"), (9.999, "10")])
def test_halves_are_rounded_away_from_zero(value: float, text: str) -> None:
    assert format_number(value) == text


@given(st.floats(-1000, 1000), st.integers(0, 6))
def test_the_rounded_number_prints_as_the_number_does(value: float, decimals: int) -> None:
    rounded = round_number(value, decimals)
    assert format_number(rounded, decimals) == format_number(value, decimals)
    assert round_number(rounded, decimals) == rounded


def test_what_is_no_number_prints_as_it_is() -> None:
    assert [format_number(value) for value in (float("inf"), float("nan"))] == ["inf", "nan"]
    assert round_number(float("inf")) == float("inf")


@given(st.floats(-1000, 1000))
def test_a_printed_number_is_the_number_to_its_decimals(value: float) -> None:
    assert abs(float(format_number(value, 3)) - value) <= 0.0005 + 1e-9


def test_the_wording_is_the_published_one() -> None:
    assert goal_text(SayGoal(), 8.0) == (
        "You are an assistant that generates responses for the instruction while implicitly achieving the following "
        "target scores (on a scale of 1-10, where 1 is lowest and 10 is highest):\nOverall score: 8."
    )


@given(st.floats(-100, 100), st.sampled_from([(1.0, 10.0), (0.0, 4.0), (-2.5, 2.5)]))
def test_a_said_goal_is_found_again(goal: float, ends: tuple[float, float]) -> None:
    text = goal_text(SayGoal(low=ends[0], high=ends[1]), goal, {"honesty": 3.0})
    found = re.search(SAID_GOAL, f"A system text.\n\n{text}\n\nWhat is tea?")
    assert found is not None and found[1] == format_number(goal)


def test_aspects_are_further_lines_in_a_fixed_order_and_missing_ones_are_left_out() -> None:
    text = goal_text(SayGoal(), None, {"honesty": 3.5, "clarity": 2.0, "tone": None})
    assert text.endswith(":\nClarity score: 2.\nHonesty score: 3.5.")


def test_an_existing_system_message_is_kept_and_extended() -> None:
    placed = place_goal([{"role": "system", "content": "Be brief."}, *PROMPT], "GOAL", "system")
    assert placed[0]["content"] == "GOAL\n\nBe brief."
    assert [message["role"] for message in placed] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(("place", "turn", "content"), [("user", 0, "GOAL\n\nHi"), ("after", 2, "Go\n\nGOAL")])
def test_without_a_system_role_the_goal_stands_in_a_user_turn(place: str, turn: int, content: str) -> None:
    placed = place_goal(PROMPT, "GOAL", place)  # type: ignore[arg-type]
    assert placed[turn]["content"] == content
    assert sum("GOAL" in message["content"] for message in placed) == 1


@given(st.sampled_from(["system", "user", "after"]))
def test_the_given_prompt_is_left_as_it_was(place: str) -> None:
    before = [dict(message) for message in PROMPT]
    place_goal(PROMPT, "GOAL", place)  # type: ignore[arg-type]
    assert before == PROMPT


@pytest.mark.parametrize("place", ["auto", "nowhere"])
def test_a_place_that_is_not_resolved_is_refused(place: str) -> None:
    with pytest.raises(ValueError, match=place):
        place_goal(PROMPT, "GOAL", place)  # type: ignore[arg-type]


@pytest.mark.parametrize("wording", ["{{ goal", "{{ unknown }}", "{% if %}"])
def test_a_wording_that_cannot_be_rendered_is_refused(wording: str) -> None:
    with pytest.raises(ValidationError, match="Jinja"):
        SayGoal(wording=wording)
