from __future__ import annotations

from dataclasses import replace
from typing import Literal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, said

from prefboost.chat import SayGoal, goal_text, place_goal
from prefboost.errors import BrokenFact, DataError, ModelError, SettingsError
from prefboost.preferences import (
    DeclaredRange,
    FittedScale,
    HighGoalOnly,
    Plain,
    Relabelling,
    RewardAugmented,
    apply_scale,
    condition,
    fit_scale,
    relabel,
    resolve_place,
)
from prefboost.preferences.condition import fit_wording_to_scales
from prefboost.preferences.views import SAID_ALIKE

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
    made = condition(relabel(pair_table([(high, low)], prompt)), say)
    assert made.scales[""].values == (1, 5 if high <= 5 else 10)
    for row in made.frame.iter_rows(named=True):
        assert row["prompt"] == place_goal(
            prompt, goal_text(fit_wording_to_scales(say, made.scales), row["goal"]), place
        )


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
    table = apply_scale(pair_table([(4, 0)]), fit_scale(DeclaredRange(), declared=(0.0, 4.0)))
    made = condition(relabel(table), say)
    assert f"on a scale of {told}," in made.frame["prompt"][0][0]["content"]
    assert fit_wording_to_scales(say, table.scales).high == made.steps[-1].settings["high"]
    assert fit_wording_to_scales(say, {}) == say


near = st.tuples(st.floats(0, 1), st.floats(0, 0.02)).map(lambda pair: (pair[0] + pair[1], pair[0]))
apart = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda pair: (max(pair), min(pair)))
SAYS = st.sampled_from(
    [
        SayGoal(place="system"),
        SayGoal(place="after", decimals=0),
        SayGoal(place="user", wording="{{ goal.split(' ')[0] }}", levels=("bad", "good")),
        SayGoal(place="system", wording="Do your best."),
    ]
)
HOWS = st.sampled_from(
    [
        RewardAugmented(),
        RewardAugmented(ties="mark"),
        RewardAugmented(contradictions="swap"),
        RewardAugmented(goals="grid", grid=(0.001, 0.5, 0.999)),
        HighGoalOnly(),
        HighGoalOnly(like=RewardAugmented(ties="mark")),
    ]
)


def flips_of_each_prompt(frame: pl.DataFrame) -> list[int]:
    said_in = frame.with_columns(text=pl.col("prompt").list.eval(pl.element().struct.json_encode()).list.join(""))
    return said_in.group_by("pair_id", "text").agg(pl.col("flipped").n_unique())["flipped"].to_list()


@given(st.lists(st.one_of(near, apart), min_size=1, max_size=8), HOWS, SAYS, st.booleans(), st.booleans())
def test_under_one_prompt_as_it_reads_one_side_wins_and_nothing_is_lost(
    scores: list[tuple[float, float]], how: Relabelling, say: SayGoal, told: bool, scaled: bool
) -> None:
    pairs = pair_table(scores)
    if scaled:
        pairs = apply_scale(pairs, fit_scale(DeclaredRange(), declared=(0.0, 1.1)))
    try:
        made = condition(relabel(pairs, how, say=say if told else None), say)
    except SettingsError:
        assert getattr(how, "goals", "own") == "grid" and told
        return
    assert set(flips_of_each_prompt(made.frame)) <= {1}
    aside = {"/".join(name.split("/")[:2]) for name in made.rejects["id"]}  # p0/0 of p0/0/chosen
    assert set(made.frame["pair_id"]) | aside == {f"p{row}/0" for row in range(len(scores))}
    assert made.frame["goal_pair_id"].is_unique().all()
    counted = sum(count for step in made.steps for count in step.rejected.values())
    assert counted == made.rejects.height


@given(st.lists(st.one_of(near, apart), min_size=1, max_size=8), SAYS)
def test_the_controls_train_on_the_pairs_that_reward_augmentation_can_tell_apart(
    scores: list[tuple[float, float]], say: SayGoal
) -> None:
    pairs = pair_table(scores)
    ours, high, plain = (
        condition(relabel(pairs, how, say=say), say) for how in (RewardAugmented(), HighGoalOnly(), Plain())
    )
    for control in (high, plain):
        assert control.frame["pair_id"].to_list() == ours.frame["pair_id"].unique(maintain_order=True).to_list()
        assert control.rejects["reason"].to_list() == ours.rejects["reason"].to_list()


@pytest.mark.parametrize("ties", ["drop", "mark"])
@pytest.mark.parametrize("told", [True, False])
def test_scores_that_print_alike_are_a_counted_tie(ties: Literal["drop", "mark"], told: bool) -> None:
    say = SayGoal(place="system")
    goals = relabel(pair_table([(7.004, 7.001), (7.0, 6.5)]), RewardAugmented(ties=ties), say=say if told else None)
    made = condition(goals, say)
    if ties == "mark":
        assert made.frame.select("goal_pair_id", "view", "goal").rows() == [
            ("p0/0/tie", "tie", 7.004), ("p1/0/chosen", "chosen", 7.0), ("p1/0/rejected", "rejected", 6.5),
        ]  # fmt: skip
        return
    assert made.frame["pair_id"].to_list() == ["p1/0", "p1/0"]
    assert set(made.rejects["reason"]) == {SAID_ALIKE}
    assert made.rejects["found"][0] == "7.004 and 7.001"


def test_a_narrow_scale_prints_more_decimals_so_that_few_pairs_read_alike() -> None:
    table = apply_scale(pair_table([(0.504, 0.501), (0.9, 0.1)]), fit_scale(DeclaredRange(), declared=(0.0, 1.0)))
    made = condition(relabel(table, say=SayGoal()), SayGoal(place="system"))
    assert made.steps[-1].settings["decimals"] == 3
    assert [prompt[0]["content"].splitlines()[-1] for prompt in made.frame["prompt"][:2]] == [
        "Overall score: 0.504.", "Overall score: 0.501.",
    ]  # fmt: skip
    kept = condition(relabel(table, say=SayGoal(decimals=2)), SayGoal(place="system", decimals=2))
    assert kept.frame["pair_id"].unique().to_list() == ["p1/0"]


def test_the_narrowest_aspect_decides_the_decimals() -> None:
    scales = {
        name: FittedScale(kind="declared", knots=ends, values=ends)
        for name, ends in {"": (1.0, 10.0), "wit": (0.0, 1.0), "tact": (1.0, 5.0)}.items()
    }
    assert fit_wording_to_scales(SayGoal(), scales, ("wit", "tact")).decimals == 3
    assert (
        fit_wording_to_scales(SayGoal(), scales, ("tact",)).decimals
        == fit_wording_to_scales(SayGoal(), scales).decimals
        == 2
    )
    assert fit_wording_to_scales(SayGoal(decimals=1), scales, ("wit",)).decimals == 1


def test_a_relabelling_that_flips_without_a_goal_is_refused() -> None:
    table = relabel(pair_table([(9, 1)]))
    blank = replace(table, frame=table.frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("goal")))
    with pytest.raises(BrokenFact, match="one completion of a pair wins"):
        condition(blank)


@pytest.mark.parametrize("ties", ["drop", "mark"])
@pytest.mark.parametrize("kind", [Plain, HighGoalOnly])
def test_a_control_leaves_out_pairs_whose_goals_read_alike_wherever_the_wording_is_known(
    kind: type[Plain] | type[HighGoalOnly], ties: Literal["drop", "mark"]
) -> None:
    pairs = pair_table([(7.004, 7.001), (9, 1), (8.0, 8.0), (3.3, 3.2)])
    say = SayGoal(place="system")
    for repeat in (1, 2):
        how = kind(ties=ties, repeat=repeat)
        late, soon = condition(relabel(pairs, how), say), condition(relabel(pairs, how, say=say), say)
        assert late.frame.equals(soon.frame)
        same = condition(relabel(pairs, RewardAugmented(ties=ties), say=say), say)
        assert set(late.frame["pair_id"]) == set(same.frame["pair_id"])
        assert late.rejects["reason"].n_unique() == (2 if ties == "drop" else 0)


def test_a_control_of_aspects_is_judged_by_the_aspects_that_are_said() -> None:
    pairs = pair_table([(9, 1), (8, 2)])
    aspects = {"score_chosen.wit": [4.001, 5.0], "score_rejected.wit": [4.0, 2.0]}
    pairs = replace(pairs, frame=pairs.frame.with_columns(**{name: pl.Series(aspects[name]) for name in aspects}))
    how = Plain(like=RewardAugmented(aspects=("wit",)))
    kept = condition(relabel(pairs, how), SayGoal(place="system", decimals=1))
    assert kept.frame["pair_id"].to_list() == pairs.frame["pair_id"].to_list()[1:]
    assert kept.rejects["found"].to_list() == ["4.001 and 4.0"]
