"""Parts of relabellings."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table

from prefboost.preferences import RewardAugmented, relabel
from prefboost.preferences.views import (
    build_own_views,
    has_equal_scores,
    interleave,
    map_other_side,
    name_goal,
    restore_pairs,
    swap_sides,
)


def test_both_sides_change_places_with_all_that_is_theirs() -> None:
    pairs = pair_table([(8.0, 3.0)]).frame.with_columns(
        pl.lit(1.0).alias("score_chosen.a"), pl.lit(2.0).alias("score_rejected.a")
    )
    turned = swap_sides(pairs)
    assert (turned["score_chosen"][0], turned["score_rejected"][0], turned["score_chosen.a"][0]) == (3.0, 8.0, 2.0)
    assert swap_sides(turned).select(pairs.columns).equals(pairs)
    assert map_other_side(["finish_chosen", "goal"])["finish_chosen"] == "finish_rejected"


def test_goal_pairs_of_any_goal_lead_back_to_their_pairs() -> None:
    pairs = pair_table([(8.0, 3.0), (9.0, 2.0), (5.0, 5.0)]).frame
    for how in (RewardAugmented(), RewardAugmented(goals="grid", grid=(1.0, 9.0))):
        views, _ = how.views(pairs, None)
        assert restore_pairs(views, pairs.columns).equals(pairs[:2])


def test_views_of_a_pair_stand_next_to_each_other() -> None:
    pairs = pair_table([(8.0, 3.0), (9.0, 2.0)]).frame
    assert interleave(pairs, build_own_views(pairs))["pair_id"].to_list() == ["p0/0", "p0/0", "p1/0", "p1/0"]


def test_unknown_scores_are_no_tie() -> None:
    pairs = pair_table([(5.0, 5.0), (None, None), (5.0, 4.0)]).frame
    assert pairs.select(has_equal_scores())["score_chosen"].to_list() == [True, False, False]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_name_of_a_goal_is_that_of_no_other(goal: float) -> None:
    assert float(name_goal(goal)) == goal
    assert name_goal(round(goal, 2)) == f"{round(goal, 2):g}" or abs(goal) >= 1000


def test_goals_that_a_short_format_prints_alike_have_rows_of_their_own() -> None:
    how = RewardAugmented(goals="grid", grid=(7.0000001, 7.0000002, 1234567.0, 1234568.0, 6.0))
    ids = relabel(pair_table([(9, 1)]), how).frame["goal_pair_id"]
    assert ids.is_unique().all()
    assert any(name.endswith("/grid-6") for name in ids if name)
