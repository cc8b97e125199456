"""Columns as people read them."""

from __future__ import annotations

import pytest

from prefboost.cli.columns import shown_columns


@pytest.mark.parametrize(
    ("columns", "shown"),
    [("a", "a"), (("a", "b"), "a, b"), ({"a": "a"}, "a"), ({"a": "x.a", "b": "b"}, "a=x.a, b=b")],
)
def test_columns_are_shown_without_python_in_them(columns: object, shown: str) -> None:
    assert shown_columns(columns) == shown
