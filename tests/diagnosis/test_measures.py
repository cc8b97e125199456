from __future__ import annotations

import math

import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from prefboost.diagnosis.measures import BINS, Histogram, build_histogram, summarise_lengths, summarise_scores

numbers = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=40)


@given(numbers)
@example([0.0, 2.139932897587515e-308])
@example([-1.7e308, 0.0, 1.7e308])
def test_every_finite_value_is_counted_once_and_no_number_is_odd(values: list[float | None]) -> None:
    labels = [value for value in values if value is not None and math.isfinite(value)]
    result = summarise_scores(pl.Series(values, dtype=pl.Float64))
    if result is None:
        assert not labels
        return
    assert sum(result.histogram.counts) == result.count == len(labels)
    assert result.missing == len(values) - len(labels)
    assert (result.low, result.high) == (min(labels), max(labels))
    assert math.isfinite(result.mean)
    edges = result.histogram.edges
    assert len(edges) == BINS + 1 and all(map(math.isfinite, edges)) and list(edges) == sorted(edges)


def test_values_fall_between_their_edges() -> None:
    result = build_histogram(pl.Series([1.0, 1.5, 5.0, 10.0, 11.0]))
    assert result is not None
    assert (result.edges[0], result.edges[-1], result.counts) == (1.0, 11.0, (2, 0, 0, 0, 1, 0, 0, 0, 0, 2))


def test_bins_with_few_values_are_not_covered() -> None:
    assert Histogram((0, 1, 2, 3), (1000, 1, 20)).count_filled() == 2


def test_nothing_has_no_length() -> None:
    assert summarise_lengths(pl.Series([], dtype=pl.UInt32)).most == 0.0
