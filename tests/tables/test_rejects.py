"""Rejected rows are counted by their reason, and none is lost."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from prefboost.tables.rejects import REJECTS, count_reasons, reject_coded, reject_faulty, reject_where


def number_rows(x: list[float]) -> pl.DataFrame:
    return pl.DataFrame({"row": range(len(x)), "x": x}, schema={"row": pl.Int64, "x": pl.Float64})


@given(st.lists(st.floats(-10, 10), max_size=20))
def test_no_row_is_lost_between_kept_and_rejected(x: list[float]) -> None:
    kept, rejects = reject_where(
        number_rows(x), pl.col("x") < 0, stage="t", reason="negative", path=None, value=pl.col("x")
    )
    assert kept.height + rejects.height == len(x)
    assert rejects.schema == REJECTS
    assert sorted([*kept["row"], *rejects["row"]]) == list(range(len(x)))


def test_rows_with_faults_are_rejected_reason_by_reason() -> None:
    frame = pl.DataFrame({"row": [10, 11, 12, 13], "prompt_id": list("abcd")})
    faults = {2: ("too long", "9 tokens"), 0: ("too short", "0 tokens"), 3: ("too long", "8 tokens")}
    usable, rejects = reject_faulty(frame, faults, stage="score", path="x.jsonl")
    assert usable["row"].to_list() == [11] and usable.columns == frame.columns
    assert rejects.select("row", "id", "reason", "found").rows() == [
        (12, "c", "too long", "9 tokens"), (13, "d", "too long", "8 tokens"), (10, "a", "too short", "0 tokens"),
    ]  # fmt: skip
    assert reject_faulty(frame, {}, stage="score", path=None)[0].equals(frame)


def test_rejects_are_counted_by_reason_in_order_of_the_alphabet() -> None:
    reasons = pl.DataFrame({"reason": ["b", "a", "b"]})
    assert list(count_reasons(reasons).items()) == [("a", 1), ("b", 2)]


@given(st.lists(st.integers(0, 3), max_size=20))
def test_rows_are_rejected_by_their_codes_reason_by_reason(codes: list[int]) -> None:
    reasons = ["first", "second", "third"]
    kept, rejects = reject_coded(
        number_rows(list(map(float, codes))),
        pl.Series(codes, dtype=pl.UInt8),
        reasons,
        stage="t",
        path="f",
        value=pl.col("x"),
    )
    assert kept["row"].to_list() == [row for row, code in enumerate(codes) if not code] and kept.columns == ["row", "x"]
    expected = [
        (row, reason, str(float(code)))
        for code, reason in enumerate(reasons, 1)
        for row, found in enumerate(codes)
        if found == code
    ]
    assert rejects.schema == REJECTS and rejects.select("row", "reason", "found").rows() == expected
