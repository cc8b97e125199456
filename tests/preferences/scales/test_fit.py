from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables_of import scored_table

from prefboost.errors import DataError
from prefboost.preferences import (
    DeclaredRange,
    MinMax,
    Percentile,
    Quantile,
    Scale,
    apply_scale,
    fit_scale,
    fit_scales,
)
from prefboost.preferences.scales.fit import choose_goal_scale

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
