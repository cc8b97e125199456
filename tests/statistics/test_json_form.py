"""Numbers that JSON does not have become null, and nothing else changes."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefboost.statistics.json_form import replace_nan

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
