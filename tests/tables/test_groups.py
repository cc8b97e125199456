"""Numbers of groups stand for their labels."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.tables import MESSAGES
from prefboost.tables.groups import group_numbers, has_consistent_prompts

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
def test_rows_of_an_id_have_one_prompt_or_they_have_not(rows: list[tuple[str, str]]) -> None:
    prompts = [[{"role": "user", "content": text, "extra": None}] for _, text in rows]
    frame = pl.DataFrame(
        {"prompt_id": [name for name, _ in rows], "prompt": prompts},
        schema={"prompt_id": pl.String, "prompt": MESSAGES},
    )
    assert has_consistent_prompts(frame) == (len(set(rows)) == len({name for name, _ in rows}))
