from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import pair_table, scored_table

from prefboost.chat import SayGoal
from prefboost.errors import DataError
from prefboost.preferences import (
    DeclaredRange,
    MinMax,
    Percentile,
    Quantile,
    Scale,
    apply_scale,
    condition,
    fit_scale,
    fit_scales,
    relabel,
)
from prefboost.preferences.scales.fit import IdentityScale, choose_goal_scale, find_goal_scales
from prefboost.tables import Step

SCALES = st.sampled_from([MinMax(), Quantile(), Percentile(), Percentile(steps=5, decimals=3)])
spread = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60).filter(lambda found: min(found) < max(found))


@given(spread, SCALES, st.integers(1, 7))
def test_pieces_fit_as_the_whole_does(scores: list[float], scale: Scale, size: int) -> None:
    pieces = [pl.Series(scores[start : start + size]) for start in range(0, len(scores), size)]
    assert fit_scale(scale, pieces) == fit_scale(scale, [pl.Series(scores)])


def test_a_declared_range_that_is_not_set_is_the_sources_own_or_the_published_one() -> None:
    ends = {
        (own, tuple(given.items())): fit_scale(DeclaredRange.model_validate(given), declared=own).knots
        for own in (None, (0.0, 4.0))
        for given in ({}, {"low": -1.0}, {"high": 3.0}, {"low": 2.0, "high": 9.0})
    }
    assert list(ends.values()) == [(1, 10), (-1, 10), (1, 3), (2, 9), (0, 4), (-1, 4), (0, 3), (2, 9)]
    with pytest.raises(DataError, match="low 5 is not below its high 4"):
        fit_scale(DeclaredRange(low=5), declared=(0.0, 4.0))


def test_constant_scores_cannot_be_fitted_to() -> None:
    with pytest.raises(DataError, match="only the score 3"):
        fit_scale(MinMax(), [pl.Series([3.0, 3.0])])


def test_an_aspect_has_a_scale_of_its_own() -> None:
    table = scored_table([("q", [2.0, 4.0, 6.0])], {"wit": [10.0, 30.0, None], "tact": [1.0, 1.0, 1.0]})
    scales = fit_scales(MinMax(), [table], aspects=("wit", "absent"))
    made = apply_scale(table, scales)
    assert made.frame["score"].to_list() == [1.0, 5.5, 10.0]
    assert made.frame["score.wit"].to_list() == [1.0, 10.0, None]
    assert made.frame["score.tact"].to_list() == [1.0, 1.0, 1.0]  # no goal is made of it
    assert {name: scale.knots for name, scale in made.scales.items()} == {"": (2.0, 6.0), "wit": (10.0, 30.0)}
    with pytest.raises(DataError, match="aspect tact: fitting a scale needs two different scores"):
        fit_scales(MinMax(), [table], aspects=("tact",))


def test_a_declared_range_is_the_overall_scores_alone() -> None:
    table = scored_table([("q", [2.0, 10.0])], {"wit": [1.0, 5.0]})
    kept, stretched = (
        apply_scale(table, fit_scales(scale, [table], aspects=("wit",)))
        for scale in (DeclaredRange(), DeclaredRange(to_low=0, to_high=100))
    )
    assert kept.frame["score.wit"].to_list() == [1.0, 5.0] and kept.scales["wit"].top == 5.0
    assert stretched.frame["score.wit"].to_list() == [0.0, 100.0]
    assert choose_goal_scale(kept.scales, ("wit",)).values == (1.0, 5.0)  # type: ignore[union-attr]
    assert choose_goal_scale(kept.scales, ()).values == (1.0, 10.0)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("scores", "ends"),
    [
        ([0.0, 4.0, 2.0], (0, 4)),
        ([-3.5, 2.25], (-3.5, 2.25)),
        ([2.0, 9.0], (1, 10)),
        ([0.5, 0.5], (1, 10)),
        ([], (1, 10)),
    ],
)
def test_no_score_is_changed_and_the_ends_are_those_of_the_scores(
    scores: list[float], ends: tuple[float, float]
) -> None:
    fitted = IdentityScale().fit(np.asarray(scores))
    assert (fitted.values, fitted.is_identity, fitted.strict) == (ends, True, False)
    assert IdentityScale(ends=(0, 7)).fit(np.asarray(scores)).values == (0, 7)
    made = apply_scale(pair_table([(99.0, -99.0)]), fitted)
    assert made.frame.select("score_chosen", "score_rejected").rows() == [(99.0, -99.0)]


def test_a_table_without_a_scale_is_said_on_the_one_that_its_source_declares_or_its_scores_need() -> None:
    plain = pair_table([(4.0, 0.0), (3.0, 1.0)])
    declared = replace(plain, steps=(Step("read", {}, 2, 2, notes={"score range": [0, 4]}),))
    for table, said in (
        (declared, "0-4"),
        (plain, "0-4"),
        (pair_table([(-1.5, -8.0)]), "-8--1.5"),
        (pair_table([(9.0, 1.0)]), "1-10"),
    ):
        made = condition(relabel(table, say=SayGoal()), SayGoal(place="system"))
        assert f"on a scale of {said}," in made.frame["prompt"][0][0]["content"]
        assert made.scales[""].top == float(said.rpartition("-")[2]) or said == "-8--1.5"
    assert find_goal_scales(pair_table([(9.0, 1.0)])) == {}
