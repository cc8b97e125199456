"""Fast moves of messages do what Polars' own slow ones do."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.tables import MESSAGES
from prefboost.tables.message_lists import compare_messages, count_distinct, insert_first, replace_contents, take_rows

MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant"]),
        "content": st.text(max_size=20),
        "extra": st.sampled_from([None, "{}"]),
    }
)
LISTS = st.lists(st.lists(MESSAGE, max_size=3), min_size=1, max_size=8)


def series(lists: list[list[dict[str, Any]]]) -> pl.Series:
    return pl.Series("m", lists, dtype=MESSAGES)


@given(LISTS, st.data())
def test_taking_rows_is_indexing(lists: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    frame = pl.DataFrame({"n": range(len(lists)), "m": series(lists)})
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=12))
    taken = take_rows(frame, np.array(rows, dtype=np.int64))
    assert taken.schema == frame.schema
    assert taken.to_dicts() == [frame.to_dicts()[row] for row in rows]


@given(st.lists(st.tuples(*[st.none() | st.lists(MESSAGE, max_size=2)] * 2), min_size=1, max_size=8))
def test_messages_are_the_same_where_every_key_is(pairs: list[tuple[Any, Any]]) -> None:
    both = [*pairs, *[(one, one) for one, _ in pairs]]
    frame = pl.DataFrame({"a": series([one for one, _ in both]), "b": series([other for _, other in both])})
    expected = [None if None in pair else pair[0] == pair[1] for pair in both]
    assert frame.select(compare_messages("a", "b")).to_series().to_list() == expected


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.booleans(), st.lists(MESSAGE, max_size=2)), max_size=8), st.booleans()
)
def test_distinct_values_are_counted_among_equal_messages_of_a_group(rows: list[Any], doubled: bool) -> None:
    # Reversed messages have the same sum of hashes, and are others.
    rows = [*rows, *[(group, not value, messages[::-1]) for group, value, messages in rows if doubled]]
    frame = pl.DataFrame(
        {"g": [row[0] for row in rows], "v": [row[1] for row in rows], "m": series([row[2] for row in rows])},
        schema_overrides={"g": pl.String, "v": pl.Boolean},
    )
    expected = [len({v for g, v, m in rows if (g, m) == (group, messages)}) for group, _, messages in rows]
    assert frame.select(count_distinct("v", "g", "m")).to_series().to_list() == expected


@given(LISTS, st.data())
def test_a_message_is_put_in_front_where_the_mask_says(lists: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists)))
    new = [{"role": "system", "content": f"goal {row}", "extra": None} for row in range(len(lists))]
    made = insert_first(series(lists), pl.Series(mask), pl.Series(new, dtype=MESSAGES.inner))
    expected = [[message, *old] if put else old for message, old, put in zip(new, lists, mask, strict=True)]
    assert made.to_list() == expected
    assert made.dtype == MESSAGES


@given(st.lists(st.lists(MESSAGE, min_size=1, max_size=3), min_size=1, max_size=8), st.data())
def test_a_content_is_replaced_where_the_mask_says(lists: list[list[dict[str, Any]]], data: st.DataObject) -> None:
    mask = data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists)))
    at = [data.draw(st.integers(0, len(messages) - 1)) for messages in lists]
    texts = pl.Series([f"new {row}" for row in range(len(lists))])
    made = replace_contents(series(lists), pl.Series(mask), pl.Series(at), texts).to_list()
    expected = [[dict(message) for message in messages] for messages in lists]
    for row, put in enumerate(mask):
        if put:
            expected[row][at[row]]["content"] = f"new {row}"
    assert made == expected


def test_no_rows_stay_no_rows() -> None:
    frame = pl.DataFrame({"m": series([])})
    assert take_rows(frame, np.array([], dtype=np.int64)).schema == frame.schema
    assert take_rows(pl.DataFrame({"m": series([[]])}), np.array([0, 0])).to_dicts() == [{"m": []}, {"m": []}]
