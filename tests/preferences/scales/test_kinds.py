from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tables_of import pair_table, scored_table

from prefboost.preferences import (
    DeclaredRange,
    FittedScale,
    MinMax,
    Percentile,
    Quantile,
    Scale,
    apply_scale,
    fit_scale,
)

SCALES = st.sampled_from([MinMax(), Quantile(), Percentile(), Percentile(steps=5, decimals=3)])
spread = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60).filter(lambda found: min(found) < max(found))


@given(spread, SCALES)
@example([-1e-320, 1e-310, 3e-315], MinMax())
@example([0.0, 0.0, 1e-312, 5e-324], Quantile())
def test_a_fitted_scale_keeps_the_order_and_stays_in_range(scores: list[float], scale: Scale) -> None:
    fitted = fit_scale(scale, [pl.Series(scores)])
    mapped = [fitted.apply(score) for score in sorted(scores)]
    assert all(low <= high for low, high in itertools.pairwise(mapped))
    assert all(1.0 <= score <= 10.0 for score in mapped)
    assert fitted.top == pytest.approx(10.0)


@given(spread, SCALES, st.floats(allow_nan=False, allow_infinity=False))
def test_one_number_and_a_column_are_mapped_alike_after_storing(
    scores: list[float], scale: Scale, asked: float
) -> None:
    fitted = fit_scale(scale, [pl.Series(scores)])
    stored = FittedScale.model_validate_json(fitted.model_dump_json())
    assert stored == fitted
    assert stored.apply(asked) == fitted.apply_many(np.array([asked, 0.0]))[0]


def test_percentiles_spread_any_scores_evenly() -> None:
    fitted = fit_scale(Percentile(), [pl.Series(np.exp(np.linspace(0, 9, 1001)))])
    assert fitted.apply(np.exp(4.5)) == pytest.approx(5.5, abs=0.05)


def test_scores_outside_a_declared_range_are_counted_rejects() -> None:
    made = apply_scale(pair_table([(9, 1), (11, 2)]), fit_scale(DeclaredRange()))
    assert len(made) == 1
    assert made.steps[-1].rejected == {"a score lies outside the declared range 1 to 10": 1}
    assert made.rejects["found"].to_list() == ["11.0 and 2.0"]


def test_a_declared_range_can_be_stretched() -> None:
    scale = DeclaredRange(low=0, high=4, to_low=1, to_high=10)
    made = apply_scale(scored_table([("q", [0.0, 4.0, 2.0, None])]), fit_scale(scale))
    assert made.frame["score"].to_list() == [1.0, 10.0, 5.5, None]
    assert made.scales[""].top == 10.0
