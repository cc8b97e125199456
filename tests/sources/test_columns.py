"""Columns found by name, by dotted path and by side."""

from __future__ import annotations

import polars as pl

from prefboost.sources.columns import Columns, build_expression, find_dtype, find_first_column, find_side_columns

FRAME = pl.DataFrame({"a": [{"b": {"c": 1}}], "x.y": [2], "Chosen-Rating": [1], "rejected_rating": [2]})


def test_a_dot_reaches_into_structs_but_names_with_dots_come_first() -> None:
    assert find_dtype(FRAME.schema, "a.b.c") == pl.Int64
    assert FRAME.select(build_expression(FRAME.schema, "a.b.c")).item() == 1
    assert FRAME.select(build_expression(FRAME.schema, "x.y")).item() == 2
    assert find_dtype(FRAME.schema, "a.nope") is None


def test_case_and_dashes_make_no_difference() -> None:
    assert find_first_column(FRAME.schema, ("chosen_rating",)) == "Chosen-Rating"
    assert find_side_columns(FRAME.schema, "rating") == ("Chosen-Rating", "rejected_rating")
    for names in (("score_chosen", "score_rejected"), ("overall_score_chosen", "overall_score_rejected")):
        assert find_side_columns(dict.fromkeys(names, pl.Int64()), "score") == names


def test_columns_given_later_win() -> None:
    assert Columns(score="a").over(Columns(score="b", prompt="p")) == Columns(score="a", prompt="p")


def test_names_that_look_like_numbers_or_lists_are_names() -> None:
    assert Columns.model_validate({"score": 1, "aspects": "a, b"}) == Columns(score="1", aspects=("a", "b"))
