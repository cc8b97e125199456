"""Numbers that JSON does not have become null, and nothing else changes; intervals come back as they were."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics import Interval
from prefboost.statistics.json_form import read_interval, replace_nan

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_value_is_strict_json_afterwards(value: object) -> None:
    plain = replace_nan(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_values_without_such_numbers_stay_as_they_are(value: object) -> None:
    assert replace_nan(value) == value


def test_numpy_numbers_count_too() -> None:
    assert replace_nan({"a": np.float64("nan"), "b": (math.inf, np.float64(0.5))}) == {"a": None, "b": [None, 0.5]}


def test_an_interval_comes_back_from_json() -> None:
    value = Interval(1.5, 1.0, 2.0, 0.95, 8, 4)
    assert read_interval(json.loads(json.dumps(asdict(value)))) == value


def test_unknown_ends_are_nan_and_anything_else_is_no_interval() -> None:
    value = read_interval({**asdict(Interval(1.5, 1.0, 2.0, 0.95, 8, 4)), "low": None, "high": None})
    assert value is not None and math.isnan(value.low) and value.estimate == 1.5
    assert read_interval(None) is None and read_interval(3.0) is None and read_interval({"mean": 1}) is None
