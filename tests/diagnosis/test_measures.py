from __future__ import annotations

import math

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.diagnosis.measures import BINS, Histogram, build_histogram, summarise_lengths, summarise_scores

numbers = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=40)


@given(numbers)
def test_every_finite_value_is_counted_once_and_no_number_is_odd(values: list[float | None]) -> None:
    known = [value for value in values if value is not None and math.isfinite(value)]
    found = summarise_scores(pl.Series(values, dtype=pl.Float64))
    if found is None:
        assert not known
        return
    assert sum(found.histogram.counts) == found.count == len(known)
    assert found.missing == len(values) - len(known)
    assert (found.low, found.high) == (min(known), max(known))
    assert math.isfinite(found.mean)
    edges = found.histogram.edges
    assert len(edges) == BINS + 1 and all(map(math.isfinite, edges)) and list(edges) == sorted(edges)


def test_values_fall_between_their_edges() -> None:
    found = build_histogram(pl.Series([1.0, 1.5, 5.0, 10.0, 11.0]))
    assert found is not None
    assert (found.edges[0], found.edges[-1], found.counts) == (1.0, 11.0, (2, 0, 0, 0, 1, 0, 0, 0, 0, 2))


def test_bins_with_few_values_are_not_covered() -> None:
    assert Histogram((0, 1, 2, 3), (1000, 1, 20)).count_filled() == 2


def test_nothing_has_no_length() -> None:
    assert summarise_lengths(pl.Series([], dtype=pl.UInt32)).most == 0.0
