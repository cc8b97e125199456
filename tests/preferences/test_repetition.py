"""Rows are left out by the definition, row by row, also where they lie in pieces."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from tables_of import assert_same_table, cut_evenly, said, scored_table

from prefboost.preferences.repetition import find_rejected_rows
from prefboost.preferences.select import Select, select


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=6, max_size=40),
    st.integers(1, 9),
    st.sampled_from(["none", "exact", "prompt"]),
    st.booleans(),
)
def test_rows_in_pieces_are_selected_as_those_of_one_frame(
    rows: list[tuple[int, int, int]], height: int, dedupe: Any, has_given_ids: bool
) -> None:
    table = scored_table([(f"q{prompt_id}", [1.0]) for _, _, prompt_id in rows])
    texts = {"prompt": ["a", "b b", "c c c"], "completion": ["d", "e e", "f f f"]}
    frame = table.frame.with_columns(
        pl.Series(name, [[said("user", known[row[at]])] for row in rows], dtype=table.schema[name])
        for at, (name, known) in enumerate(texts.items())
    )
    if has_given_ids:
        given_ids = [f"g{row[2]}" if row[1] else None for row in rows]
        frame = frame.with_columns(pl.Series("given_prompt_id", given_ids, dtype=pl.String))
    whole = replace(table, frame=frame)
    how = Select(dedupe=dedupe, max_prompt_words=2, min_completion_words=2)
    assert_same_table(select(cut_evenly(whole, height), how), select(whole, how))
    how = Select(dedupe=dedupe)
    chosen = select(cut_evenly(whole, height), how)
    assert_same_table(chosen, select(whole, how))
    # By the definition, row by row.
    first_id: dict[int, str | None] = {}
    seen: set[tuple[int, int]] = set()
    expected = []
    ids = chosen.frame["row"].to_list()
    names = [f"g{row[2]}" if has_given_ids and row[1] else f"q{row[2]}" for row in rows]
    for at, (prompt, completion, _) in enumerate(rows):
        if dedupe == "prompt" and first_id.setdefault(prompt, names[at]) != names[at]:
            continue
        if dedupe != "none" and (prompt, completion) in seen:
            continue
        seen.add((prompt, completion))
        expected.append(at)
    assert ids == expected


def test_a_row_is_left_out_by_the_first_limit_that_it_fails_and_counts_as_no_repetition() -> None:
    table = scored_table([("a", [1.0, 5.0, 9.0])])
    same = table.frame.with_columns(completion=pl.col("completion").first())
    limits = [pl.col("prompt").list.len() > 1, pl.int_range(pl.len()) == 0]
    codes = find_rejected_rows(replace(table, frame=same), limits, ["completion"], "exact")
    assert codes.to_list() == [2, 0, 4]
