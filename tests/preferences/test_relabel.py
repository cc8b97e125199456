from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_scores, pair_table, said

from prefboost.chat import SayGoal, goal_text
from prefboost.errors import BrokenFact, DataError, MissingScores, SettingsError
from prefboost.preferences import (
    DeclaredRange,
    HighGoalOnly,
    Plain,
    RewardAugmented,
    apply_scale,
    condition,
    fit_scale,
    pair,
    relabel,
)
from prefboost.tables import GOAL_PAIRS, Table, conform

RELABELLED = st.sampled_from(
    [
        RewardAugmented(),
        RewardAugmented(ties="mark"),
        RewardAugmented(contradictions="swap"),
        RewardAugmented(fraction=0.5, seed=3),
        RewardAugmented(goals="grid", grid=(1.0, 5.5, 10.0)),
        RewardAugmented(goals="top"),
        RewardAugmented(contradictions="keep", ties="mark"),
        HighGoalOnly(repeat=2),
        HighGoalOnly(contradictions="swap", ties="mark"),
        Plain(repeat=2),
        Plain(repeat=2, ties="mark"),
    ]
)


def some(pairs: list[tuple[float | None, float | None]]) -> bool:
    return any(high is not None for high, _ in pairs)


@given(pair_scores.filter(some))
def test_the_goal_flips_the_label(pairs: list[tuple[float | None, float | None]]) -> None:
    frame = relabel(pair_table(pairs)).frame
    for _, views in frame.group_by("pair_id"):
        assert views["view"].to_list() == ["chosen", "rejected"]
        assert views["chosen"][0].to_list() == views["rejected"][1].to_list()
        assert views["chosen"][1].to_list() == views["rejected"][0].to_list()
        assert views["goal"].to_list() == [views["score_chosen"][0], views["score_rejected"][0]]
        assert views["flipped"].to_list() == [False, True]


@given(pair_scores.filter(some), RELABELLED)
def test_nothing_is_lost_and_the_nearer_completion_wins(
    pairs: list[tuple[float | None, float | None]], how: RewardAugmented | HighGoalOnly | Plain
) -> None:
    table = relabel(pair_table(pairs), how)
    kept, aside = set(table.frame["pair_id"]), set(table.rejects["id"])
    left_out = int(table.steps[-1].notes.get("pairs_left_out_by_fraction", 0))
    assert len(kept | aside) + left_out == len(pairs)
    shown = table.frame.drop_nulls("goal")
    near = (shown["goal"] - shown["score_chosen"]).abs()
    far = (shown["goal"] - shown["score_rejected"]).abs()
    assert (near <= far).all()
    assert table.frame["goal_pair_id"].is_unique().all()
    assert sum(table.steps[-1].rejected.values()) == table.rejects.height


@given(pair_scores.filter(some), RELABELLED)
def test_why_a_completion_ended_goes_with_it_to_whichever_side(
    pairs: list[tuple[float | None, float | None]], how: RewardAugmented | HighGoalOnly | Plain
) -> None:
    table = pair_table(pairs)
    ends = {"finish_chosen": pl.lit("length"), "finish_rejected": pl.lit("stop")}
    frame = condition(relabel(replace(table, frame=table.frame.with_columns(**ends)), how)).frame
    for side in ("chosen", "rejected"):
        cut = pl.when(frame[f"finish_{side}"] == "length").then(pl.lit("good")).otherwise(pl.lit("bad"))
        said_by = frame[side].list.first().struct.field("content").str.split(" ").list.first()
        assert said_by.equals(frame.select(cut.alias(side)).to_series())


@given(pair_scores.filter(some), RELABELLED, st.integers(1, 5))
def test_shards_give_what_the_whole_gives(
    pairs: list[tuple[float | None, float | None]], how: RewardAugmented | HighGoalOnly | Plain, size: int
) -> None:
    whole = pair_table(pairs)
    joined = [
        how.views(whole.frame[start : start + size], None)[0].select("goal_pair_id", "goal")
        for start in range(0, len(pairs), size)
    ]
    at_once = how.views(whole.frame, None)[0].select("goal_pair_id", "goal")
    assert pl.concat(joined).sort("goal_pair_id").equals(at_once.sort("goal_pair_id"))


def test_views_of_a_pair_stand_next_to_each_other() -> None:
    table = relabel(pair_table([(9, 1), (8, 2), (7, 3)]))
    assert table.frame["pair_id"].to_list() == ["p0/0", "p0/0", "p1/0", "p1/0", "p2/0", "p2/0"]


def test_half_of_the_prompts_give_as_many_rows_as_there_are_pairs() -> None:
    table = relabel(pair_table([(9.0, 1.0)] * 2000), RewardAugmented(fraction=0.5))
    assert 1850 < len(table) < 2150
    assert table.frame.group_by("prompt_id").len()["len"].unique().to_list() == [2]


def test_a_marked_tie_is_one_row_not_two_that_contradict() -> None:
    table = relabel(pair_table([(5, 5)]), RewardAugmented(ties="mark"))
    assert table.frame.select("view", "goal").rows() == [("tie", 5.0)]


@pytest.mark.parametrize("control", [False, True])
@pytest.mark.parametrize(
    ("how", "word"), [({"goals": "grid", "grid": (1.0, 7.0)}, "grid"), ({"goals": "top", "top": 9.0}, "top")]
)
def test_goals_outside_the_scale_are_refused_with_its_ends(how: dict[str, object], word: str, control: bool) -> None:
    table = apply_scale(pair_table([(4.0, 1.0)]), fit_scale(DeclaredRange(), declared=(1.0, 5.0)))
    asked = RewardAugmented.model_validate(how)
    with pytest.raises(
        SettingsError, match=f"relabel.{word} asks for [79], but (.|\n)*from 1 to 5(.|\n)*between 1 and 5"
    ):
        relabel(table, HighGoalOnly(like=asked) if control else asked)
    assert len(relabel(table, RewardAugmented(goals="grid", grid=(1.0, 5.0)))) == 2


def test_grid_goals_are_the_numbers_that_stand_in_the_prompts() -> None:
    how = RewardAugmented(goals="grid", grid=(7.004, 2.0))
    made = relabel(pair_table([(7.003, 7.0)]), how, say=SayGoal())
    assert made.frame.filter(goal=7.0).select("flipped", "distance_chosen").rows() == [(True, 0.0)]
    with pytest.raises(SettingsError, match=r"the goal 7\.004 has the same text"):
        relabel(pair_table([(9.0, 7.0)]), RewardAugmented(goals="grid", grid=(7.0, 7.004)), say=SayGoal())


def test_equidistant_goals_are_skipped_and_counted() -> None:
    table = relabel(pair_table([(9, 1)]), RewardAugmented(goals="grid", grid=(1.0, 5.0, 9.0)))
    assert table.frame["goal"].to_list() == [1.0, 9.0]
    assert table.rejects["reason"].to_list() == ["both completions are equally far from goal 5"]


def test_a_missing_aspect_is_masked() -> None:
    pairs = pair_table([(9, 1), (8, 2), (7, 3)])
    frame = pairs.frame.with_columns(
        **{
            "score_chosen.a": pl.Series([5.0, 5.0, None]),
            "score_rejected.a": pl.Series([1.0, None, None]),
            "score_chosen.b": pl.Series([4.0, 4.0, None]),
            "score_rejected.b": pl.Series([2.0, 2.0, 2.0]),
        }
    )
    table = relabel(
        pairs.derive(pairs.spec, frame, pairs.steps[0] if pairs.steps else _step()),
        RewardAugmented(aspects=("a", "b"), weights={"a": 3.0}),
    )
    first, second = (table.frame.filter(pl.col("pair_id") == name) for name in ("p0/0", "p1/0"))
    assert first["distance_rejected"].to_list() == [(3 * 4 + 2) / 4] * 2
    assert second["distance_rejected"].to_list() == [2.0] * 2
    assert first["goal.a"].to_list() == [5.0, 1.0]
    assert table.rejects["reason"].to_list() == ["no aspect is rated on both sides"]


def _step() -> object:
    from prefboost.tables import Step

    return Step("test", {}, 0, 0)


def test_binary_pairs_are_paired_and_then_refused_with_the_remedy() -> None:
    paired = pair(pair_table([(None, None)]))
    assert len(paired) == 1
    with pytest.raises(MissingScores, match="implicit rewards"):
        relabel(paired)
    assert len(relabel(paired, Plain())) == 1


def test_an_unknown_aspect_is_named() -> None:
    with pytest.raises(DataError, match="no aspect wit"):
        relabel(pair_table([(9, 1)]), RewardAugmented(aspects=("wit",)))


def test_the_published_scripts_output_without_system_role_is_refused_and_ours_flips() -> None:
    """Its view for goal r_l exchanges the first user turns, which are equal, and leaves the answers where they were.

    The goal's text is put into the shared message of one side twice, since the second side's text is read after the
    first side's message was overwritten.
    """
    ours = relabel(pair_table([(9.0, 3.0)]))
    low = {
        "chosen": [said("user", "Q"), said("assistant", "good")],
        "rejected": [said("user", "Q"), said("assistant", "bad")],
    }
    text = "Overall score: 3.\n\n"
    taken_chosen, taken_rejected = low["rejected"][0], low["chosen"][0]
    low["chosen"][0]["content"] = text + str(taken_chosen["content"])
    low["rejected"][0]["content"] = text + str(taken_rejected["content"])
    assert low["chosen"][1]["content"] == "good"
    assert low["rejected"][0]["content"] == text + text + "Q"
    unflipped = ours.frame[:1].with_columns(
        goal=pl.lit(3.0), view=pl.lit("rejected"), distance_chosen=pl.lit(6.0), distance_rejected=pl.lit(0.0)
    )
    with pytest.raises(BrokenFact, match="at least as near the goal") as caught:
        conform(unflipped, GOAL_PAIRS, path="published.parquet")
    assert "published.parquet, row 0" in str(caught.value)
    with pytest.raises(BrokenFact):
        conform(unflipped.with_columns(distance_chosen=pl.lit(0.0)), GOAL_PAIRS)
    view = ours.frame.filter(pl.col("goal") == 3.0)
    assert view["chosen"][0][0]["content"] == "bad 0"
    # What reading such a FILE says is tested in tests/sources/rows/test_said_goals.py.


def test_both_sides_share_the_conditioned_prompt() -> None:
    from prefboost.chat import SayGoal

    table = condition(relabel(pair_table([(9.0, 3.5)])), SayGoal(place="system"))
    texts = [prompt[0]["content"] for prompt in table.frame["prompt"]]
    assert texts == [goal_text(SayGoal(), 9.0), goal_text(SayGoal(), 3.5)]
    assert texts[1].endswith("Overall score: 3.5.")


@given(pair_scores.filter(some), RELABELLED)
def test_views_stand_together_and_pairs_in_their_order(
    pairs: list[tuple[float | None, float | None]], how: RewardAugmented | HighGoalOnly | Plain
) -> None:
    came = [int(name.removeprefix("p").removesuffix("/0")) for name in relabel(pair_table(pairs), how).frame["pair_id"]]
    assert came == sorted(came)


def with_aspect(pairs: list[tuple[float, float]]) -> Table:
    table = pair_table(pairs)
    sides = {f"score_{side}.wit": pl.col(f"score_{side}") for side in ("chosen", "rejected")}
    return replace(table, frame=table.frame.with_columns(**sides))


def test_a_goal_vector_obeys_the_policies_for_ties_and_contradictions() -> None:
    table = with_aspect([(9, 1), (5, 5), (2, 8)])
    found = {
        (ties, policy): relabel(
            table,
            RewardAugmented(aspects=("wit",), ties=ties, contradictions=policy),  # type: ignore[arg-type]
        )
        .frame.select("pair_id", "view", "goal.wit")
        .rows()
        for ties, policy in (("mark", "drop"), ("drop", "swap"))
    }
    first = [("p0/0", "chosen", 9.0), ("p0/0", "rejected", 1.0)]
    assert found["mark", "drop"] == [*first, ("p1/0", "tie", 5.0)]
    assert found["drop", "swap"] == [*first, ("p2/0", "chosen", 8.0), ("p2/0", "rejected", 2.0)]


@pytest.mark.parametrize(
    ("wrong", "said_so"),
    [
        ({"aspects": ("wit",), "goals": "grid", "grid": (1, 10)}, "cannot be used with aspects"),
        ({"aspects": ("wit",), "goals": "top"}, "cannot be used with aspects"),
        ({"goals": "grid"}, "go together"),
        ({"grid": (1, 10)}, "go together"),
        ({"goals": "grid", "grid": (1, 1)}, "stands twice"),
        ({"aspects": ("wit",), "weights": {"wit": 0}}, "above 0"),
        ({"aspects": ("wit",), "weights": {"whit": 2}}, "whit is not among aspects"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(wrong: dict[str, object], said_so: str) -> None:
    with pytest.raises(ValueError, match=said_so):
        RewardAugmented.model_validate(wrong)


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_never_becomes_a_goal(odd: float) -> None:
    made = relabel(pair_table([(odd, 1.0), (9.0, 1.0)]))
    assert made.frame["pair_id"].unique().to_list() == ["p1/0"]
    assert made.rejects["reason"].to_list() == ["a score of the pair is not a finite number"]
    with pytest.raises(BrokenFact, match="finite"):
        conform(made.frame.with_columns(goal=pl.lit(odd), score_chosen=pl.lit(odd)), GOAL_PAIRS)


scored_pairs = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=9)


@given(
    scored_pairs,
    st.sampled_from(["drop", "mark"]),
    st.sampled_from(["drop", "swap", "keep"]),
    st.sampled_from([HighGoalOnly, Plain]),
)
def test_a_control_trains_on_the_pairs_that_reward_augmentation_uses(
    pairs: list[tuple[float, float]], ties: str, contradictions: str, control: type[HighGoalOnly | Plain]
) -> None:
    same = {"ties": ties, "contradictions": contradictions}
    table = pair_table(pairs)
    ours = relabel(table, RewardAugmented.model_validate(same))
    theirs = relabel(table, control.model_validate({**same, "repeat": 2}))
    assert theirs.frame["pair_id"].to_list() == ours.frame["pair_id"].to_list()
    assert (theirs.frame["view"] == "tie").equals(ours.frame["view"] == "tie")
    assert theirs.rejects.equals(ours.rejects)


def test_the_defaults_of_controls_and_reward_augmentation_agree() -> None:
    for control in (HighGoalOnly(), Plain()):
        assert (control.ties, control.contradictions) == (RewardAugmented().ties, RewardAugmented().contradictions)


def test_binary_pairs_stay_in_the_plain_control() -> None:
    table = pair_table([(9, 1), (2, 8), (None, None), (5, 5)])
    assert relabel(table, Plain()).frame["pair_id"].to_list() == ["p0/0", "p2/0"]
    assert relabel(table, Plain(ties="mark")).frame["pair_id"].to_list() == ["p0/0", "p2/0", "p3/0"]
    assert relabel(table).frame["pair_id"].unique().to_list() == ["p0/0"]


def test_rejects_of_a_grid_name_the_file() -> None:
    table = replace(pair_table([(9, 1)]), path="pairs.parquet")
    assert relabel(table, RewardAugmented(goals="grid", grid=(5.0,))).rejects["path"].to_list() == ["pairs.parquet"]


def test_the_top_is_that_of_the_datas_scale_unless_another_is_set() -> None:
    pairs = apply_scale(pair_table([(4.0, 1.0), (2.0, 0.0)]), fit_scale(DeclaredRange(low=0, high=4)))
    for asked, top in ((None, 4.0), (3.0, 3.0)):
        made = relabel(pairs, RewardAugmented(goals="top", top=asked))
        assert set(made.frame["goal"]) == {top} and made.steps[-1].settings["top"] == top
    assert set(relabel(pair_table([(4.0, 1.0)]), RewardAugmented(goals="top")).frame["goal"]) == {10.0}


def test_plain_keeps_binary_pairs_or_leaves_out_what_reward_augmentation_has_to() -> None:
    pairs = pair_table([(7.0, 2.0), (None, 2.0), (None, None), (float("nan"), 1.0)])
    kept = {how: relabel(pairs, Plain(unscored=how)).frame["pair_id"].to_list() for how in ("keep", "drop")}
    assert kept == {"keep": ["p0/0", "p1/0", "p2/0", "p3/0"], "drop": ["p0/0"]}
    augmented = relabel(pairs, RewardAugmented())
    for how in (Plain(unscored="drop"), HighGoalOnly()):
        made = relabel(pairs, how)
        assert made.frame["pair_id"].unique().to_list() == augmented.frame["pair_id"].unique().to_list()
        assert made.steps[-1].rejected == augmented.steps[-1].rejected
        assert made.steps[-1].rejected["a completion of the pair has no score"] == 2


LIKE = [
    RewardAugmented(fraction=0.5),
    RewardAugmented(ties="mark"),
    RewardAugmented(contradictions="swap"),
    RewardAugmented(contradictions="keep", fraction=0.7, seed=3),
    RewardAugmented(goals="grid", grid=(2.0, 5.0)),
    RewardAugmented(aspects=("a", "b"), weights={"b": 2.0}),
]


@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("how", LIKE, ids=str)
def test_a_control_like_a_reward_augmentation_takes_exactly_its_pairs(how: RewardAugmented, repeat: int) -> None:
    scores = [(float(5 + n % 5), float(1 + n % 7)) for n in range(40)]
    table = pair_table(scores)
    aspects = {
        "score_chosen.a": [float(n % 4) if n % 9 else None for n in range(40)],
        "score_rejected.a": [float(n % 3) for n in range(40)],
        "score_chosen.b": [float(n % 5) if n % 6 else None for n in range(40)],
        "score_rejected.b": [float(n % 2) for n in range(40)],
    }
    table = replace(table, frame=table.frame.with_columns(pl.Series(name, of) for name, of in aspects.items()))
    augmented = relabel(table, how)
    used = set(augmented.frame["pair_id"])
    assert 0 < len(used) < 40 or how.contradictions == "swap"
    for control in (Plain(like=how, repeat=repeat), HighGoalOnly(like=how, repeat=repeat)):
        made = relabel(table, control)
        assert set(made.frame["pair_id"]) == used
        assert not made.frame["flipped"].any()
        marked = set(augmented.frame.filter(pl.col("view") == "tie")["pair_id"])
        counts = dict(made.frame["pair_id"].value_counts().iter_rows())
        assert all(count == (1 if pair in marked else repeat) for pair, count in counts.items())
        assert not set(made.rejects["id"]) & used
    goals = made.frame.filter(pl.col("view") == "chosen")
    column = "goal.a" if how.aspects else "goal"
    assert goals[column].equals(goals["score_chosen.a" if how.aspects else "score_chosen"].alias(column))
    assert relabel(table, Plain(like=how)).frame["goal"].null_count() == relabel(table, Plain(like=how)).frame.height


def test_a_control_like_a_reward_augmentation_needs_scores() -> None:
    with pytest.raises(MissingScores):
        relabel(pair_table([(None, None)]), Plain(like=RewardAugmented()))
