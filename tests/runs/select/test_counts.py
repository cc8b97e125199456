"""Sums of scores depend neither on their order nor on how they are grouped."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefboost.runs.select.counts import sum_counts, sum_exactly


@given(st.lists(st.floats(-1e300, 1e300), max_size=30))
def test_sums_are_exact(numbers: list[float]) -> None:
    assert sum_exactly(np.array(numbers, dtype=np.float64)) == sum(map(Fraction, numbers), Fraction(0))


def test_counts_of_parts_are_summed_and_reasons_come_by_their_number() -> None:
    part = {f"{name}{kept}": 2 for name in ("rows", "prompts", "scored") for kept in ("", " kept")}
    counts = sum_counts([{**part, "sum": "1/3", "sum kept": "1"}] * 2, {"b": 1, "a": 1, "c": 3})
    assert counts["rows"] == counts["kept"] == counts["prompts"] == 4
    assert counts["score mean"] == 1 / 6 and counts["score mean kept"] == 0.5
    assert list(counts["rejected"]) == ["c", "a", "b"]
