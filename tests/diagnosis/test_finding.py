from __future__ import annotations

import polars as pl

from prefboost.diagnosis.finding import EXAMPLES, build_finding

FRAME = pl.DataFrame({"row": [10, 11, 12, 13, 14, 15, 16], "bad": [None, True, True, True, True, True, True]})


def test_the_first_cases_are_shown_and_all_are_counted() -> None:
    built = build_finding(FRAME, pl.col("bad"), "name", "note", ("sentence", "remedy"))
    assert built is not None
    assert (built.count, built.of, built.rows) == (6, 7, tuple(range(11, 11 + EXAMPLES)))
    assert [example.position for example in built.examples] == list(range(1, 1 + EXAMPLES))


def test_no_case_is_no_finding() -> None:
    assert build_finding(FRAME, pl.lit(None, dtype=pl.Boolean), "name", "note", ("", "")) is None
