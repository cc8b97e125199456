"""Values are found wherever a layout keeps them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.inner_values import find_holder, read_inner_values


@pytest.mark.parametrize(
    ("layout", "record", "holder"),
    [
        (Layout("flat", {"rank": "r"}), {"r": 1}, "r"),
        (Layout("parallel", {"completions": "c", "rank": "r"}), {"c": ["a"], "r": [1]}, "r"),
        (Layout("nested", {"completions": "c", "rank": "r"}), {"c": [{"r": 1}]}, "c"),
        (Layout("nested", {"completions": "c", "rank": "m.r"}), {"c": [{"m": {"r": 1}}]}, "c"),
    ],
)
def test_the_values_of_all_records_come_one_after_the_other(
    layout: Layout, record: dict[str, Any], holder: str
) -> None:
    assert find_holder(layout, "rank") == holder
    assert read_inner_values(pl.DataFrame([record, record]), layout, "rank").to_list() == [1, 1]


def test_a_frame_without_the_field_has_no_values() -> None:
    layout = Layout("nested", {"completions": "c", "rank": "r"})
    assert read_inner_values(pl.DataFrame({"c": [[{"x": 1}]]}), layout, "rank").is_empty()
