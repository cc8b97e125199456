from __future__ import annotations

from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, said

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.errors import DataError, ModelError
from prefboost.preferences import (
    DeclaredRange,
    Plain,
    RewardAugmented,
    apply_scale,
    condition,
    fit_scale,
    relabel,
    resolve_place,
)
from prefboost.preferences.condition import said_on

content = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
turns = st.lists(st.tuples(content, content), max_size=2)
prompts = st.builds(
    lambda system, earlier, last: [
        *([said("system", system)] if system is not None else []),
        *[message for user, answer in earlier for message in (said("user", user), said("assistant", answer))],
        said("user", last),
    ],
    st.one_of(st.none(), content),
    turns,
    content,
)
PLACES: list[Literal["system", "user", "after"]] = ["system", "user", "after"]


@given(prompts, st.sampled_from(PLACES), st.integers(2, 10).map(float), st.floats(1, 1.99))
def test_the_vectorised_prompt_equals_the_one_that_engines_say(
    prompt: list[dict[str, str | None]], place: Literal["system", "user", "after"], high: float, low: float
) -> None:
    say = SayGoal(place=place)
    made = condition(relabel(pair_table([(high, low)], prompt)), say).frame
    for row in made.iter_rows(named=True):
        assert row["prompt"] == place_goal(prompt, goal_text(say, row["goal"]), place)


@given(st.floats(1, 10), st.floats(1, 10), st.integers(0, 4))
def test_every_goal_is_printed_as_engines_print_it(one: float, other: float, decimals: int) -> None:
    say = SayGoal(place="system", wording="{{ goal }}", decimals=decimals)
    made = condition(relabel(pair_table([(max(one, other), min(one, other)), (3.125, 2.675)])), say).frame
    for row in made.iter_rows(named=True):
        assert row["prompt"][0]["content"] == goal_text(say, row["goal"])


def test_rows_without_a_goal_keep_their_prompt() -> None:
    table = relabel(pair_table([(9, 1)]), Plain())
    assert condition(table).frame["prompt"].to_list() == table.frame["prompt"].to_list()


def test_aspects_are_said_one_a_line() -> None:
    pairs = pair_table([(9, 1)])
    frame = pairs.frame.with_columns(
        pl.Series("score_chosen.honesty", [4.0]), pl.Series("score_rejected.honesty", [2.5])
    )
    from dataclasses import replace

    table = relabel(replace(pairs, frame=frame), RewardAugmented(aspects=("honesty",)))
    texts = [prompt[0]["content"].splitlines()[-1] for prompt in condition(table).frame["prompt"]]
    assert texts == ["Honesty score: 4.", "Honesty score: 2.5."]


def test_a_prompt_without_a_user_turn_is_a_counted_reject() -> None:
    table = relabel(pair_table([(9, 1)], [said("tool", "42")]))
    made = condition(table, SayGoal(place="user"))
    assert len(made) == 0
    assert made.steps[-1].rejected == {"the prompt has no user turn to say the goal in": 2}


def test_only_goal_pairs_can_be_conditioned() -> None:
    with pytest.raises(DataError, match="call relabel first"):
        condition(pair_table([(9, 1)]))


def test_a_place_that_the_template_loses_is_refused() -> None:
    def drops_system(messages: object) -> str:
        return "".join(f"<{m['role']}>{m['content']}" for m in messages if m["role"] != "system")  # type: ignore[attr-defined]

    assert resolve_place(SayGoal(), drops_system) == ("user", "the template's system role is dropped")
    with pytest.raises(ModelError, match="the goal would be lost"):
        resolve_place(SayGoal(place="system"), drops_system)


@pytest.mark.parametrize(
    ("say", "told"), [(SayGoal(), "0-4"), (SayGoal(low=0.0, high=8.0), "0-8"), (SayGoal(high=9.0), "1-9")]
)
def test_the_ends_of_the_tables_scale_are_said_unless_others_are_set(say: SayGoal, told: str) -> None:
    table = apply_scale(pair_table([(4, 0)]), fit_scale(DeclaredRange(), own=(0.0, 4.0)))
    made = condition(relabel(table), say)
    assert f"on a scale of {told}," in made.frame["prompt"][0][0]["content"]
    assert said_on(say, table.scales[""]).high == made.steps[-1].settings["high"]
    assert said_on(say, None) == say
