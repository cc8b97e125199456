"""Questions and their keys."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.store.interface import StoreQuery


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), st.text(), st.text())
def test_keys_tell_apart_whatever_differs(parts: dict[str, Any], kind: str, other: str) -> None:
    assert StoreQuery(kind, parts).key == StoreQuery(kind, dict(reversed(parts.items()))).key
    assert (StoreQuery(kind, parts).key == StoreQuery(other, parts).key) == (kind == other)
    assert StoreQuery(kind, {**parts, "more": 1}).key != StoreQuery(kind, {**parts, "more": 2}).key
