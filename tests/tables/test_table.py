"""Frames conform to declarations, or the first broken row is named."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import BrokenFact, DataError
from prefboost.tables.rejects import reject_where
from prefboost.tables.table import (
    Column,
    Fact,
    Step,
    Table,
    TableSpec,
    aspects_of,
    conform,
    refuse_other_tables,
)

SPEC = TableSpec(
    "Numbers",
    "Numbers.",
    (
        Column("row", pl.Int64, "row"),
        Column("x", pl.Float64, "number"),
        Column("x.*", pl.Float64, "part", required=False, nullable=True),
        Column("note", pl.String, "note", required=False, nullable=True),
    ),
    (Fact("x is not negative", lambda _: pl.col("x") >= 0),),
)


def frame(x: list[float | None], **more: list[object]) -> pl.DataFrame:
    return pl.DataFrame({"row": range(len(x)), "x": x, **more}, schema_overrides={"x": pl.Float64, "row": pl.Int64})


def test_declared_columns_come_first_in_order_and_others_are_dropped() -> None:
    kept = conform(frame([1.0], junk=[1], **{"x.b": [1.0], "x.a": [None]}).cast({"x.a": pl.Float64}), SPEC)
    assert kept.columns == ["row", "x", "x.a", "x.b"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (frame([1.0]).drop("x"), "needs a column 'x'"),
        (frame([1.0]).cast({"x": pl.String}), "must be Float64, found String"),
        (frame([1.0, None]), r"row 1, column 'x'.*1 nulls"),
    ],
)
def test_a_missing_wrong_or_null_column_is_named(wrong: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        conform(wrong, SPEC, path="f")


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=20))
def test_a_broken_fact_names_the_first_row_and_the_count(x: list[float]) -> None:
    broken = [position for position, value in enumerate(x) if value < 0]
    if not broken:
        assert conform(frame(x), SPEC).height == len(x)
        return
    with pytest.raises(BrokenFact, match=f"row {broken[0]}: {len(broken)} of {len(x)} rows break a fact"):
        conform(frame(x), SPEC)


def test_the_next_table_appends_rejects_and_history() -> None:
    first = Table(SPEC, conform(frame([1.0, 2.0]), SPEC), path="f")
    kept, rejects = reject_where(first.frame, pl.col("x") > 1, stage="cut", reason="too large", path="f")
    then = first.derive(SPEC, kept, Step("cut", {}, 2, 1, {"too large": 1}), rejects=rejects)
    assert (len(first), len(then), then.rejects.height) == (2, 1, 1)
    assert [step.verb for step in then.steps] == ["cut"]
    assert then.with_scales({"": 1}).scales == {"": 1}


@given(st.lists(st.floats(allow_nan=False, width=32), max_size=8))
def test_a_step_counts_the_rows_that_went_in_came_out_and_were_rejected(x: list[float]) -> None:
    table = Table(SPEC, frame(x))
    rows, rejects = reject_where(table.frame, pl.col("x") < 0, stage="test", reason="negative", path=None)
    step = table.build_step("test", {"least": 0}, rows, rejects, {"note": 1})
    assert step.rows_in == len(x) == step.rows_out + sum(step.rejected.values())
    assert (step.verb, step.settings, step.notes) == ("test", {"least": 0}, {"note": 1})
    assert table.build_step("test", {}, rows, rejects).notes == {}


def test_aspects_are_the_names_behind_the_dot_sorted() -> None:
    assert aspects_of(["score", "score.b", "score.a", "other.c"], "score") == ["a", "b"]


def test_a_table_of_another_kind_is_refused_with_the_kinds_that_are_taken() -> None:
    other = TableSpec("Letters", "Letters.", (Column("row", pl.Int64, "row"),), ())
    table = Table(SPEC, frame([1.0]), path="FILE")
    refuse_other_tables(table, other, SPEC, task="counting", remedy="count by hand")
    with pytest.raises(DataError, match="FILE: counting needs Letters, found Numbers\n  -> count by hand"):
        refuse_other_tables(table, other, task="counting", remedy="count by hand")
