"""Numbers of groups stand for their labels, and ids for their prompts."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.tables import COMPLETIONS, MESSAGES, Table
from prefboost.tables.groups import group_numbers, refuse_shared_ids

LABELS = st.lists(st.sampled_from(["", "a", "b", "ab", "z"]), max_size=12)


@given(LABELS)
def test_numbers_are_equal_exactly_where_labels_are(labels: list[str]) -> None:
    numbers = group_numbers(pl.Series("label", labels, dtype=pl.String)).to_list()
    for label, number in zip(labels, numbers, strict=True):
        assert [other == number for other in numbers] == [other == label for other in labels]


@given(LABELS)
def test_numbers_rise_where_equal_labels_stand_together(labels: list[str]) -> None:
    ordered = sorted(labels, key=labels.index)
    assert group_numbers(pl.Series("label", ordered, dtype=pl.String)).is_sorted()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), max_size=10))
def test_an_id_of_two_prompts_is_refused_at_the_first_row_that_differs(rows: list[tuple[str, str]]) -> None:
    prompts = [[{"role": "user", "content": text, "extra": None}] for _, text in rows]
    frame = pl.DataFrame(
        {"row": range(len(rows)), "prompt_id": [name for name, _ in rows], "prompt": prompts},
        schema={"row": pl.Int64, "prompt_id": pl.String, "prompt": MESSAGES},
    )
    firsts: dict[str, str] = {}
    wrong = [row for row, (name, text) in enumerate(rows) if firsts.setdefault(name, text) != text]
    table = Table(COMPLETIONS, frame, path="FILE")
    if not wrong:
        refuse_shared_ids(table)
        return
    with pytest.raises(DataError, match=f"have the prompt_id '{rows[wrong[0]][0]}'") as caught:
        refuse_shared_ids(table)
    assert caught.value.place is not None and caught.value.place.row == wrong[0]
