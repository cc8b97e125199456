"""Rows set aside keep the first reason and show what was found."""

from __future__ import annotations

import polars as pl

from prefboost.sources.rows.faults import FAULT, add_fault, build_no_faults, split_rejects


def test_the_first_fault_of_a_row_is_its_reason() -> None:
    frame = pl.DataFrame({"row": [0, 1, 2], "prompt_id": ["a", "b", None], "raw.x": ["u", 3 * "v", "w"]})
    faults = {
        "y": pl.Series(["is odd", None, None], dtype=pl.String),
        "x": pl.Series(["is bad", "is bad", None], dtype=pl.String),
    }
    kept, rejects = split_rejects(add_fault(frame, faults), "f", {"x": "raw.x"})
    assert kept["row"].to_list() == [2]
    assert rejects["reason"].to_list() == ["the y is odd", "the x is bad"]
    assert rejects["found"].to_list() == [None, "vvv"]
    assert rejects["id"].to_list() == ["a", "b"]


def test_without_faults_the_frame_stays_as_it_is() -> None:
    frame = pl.DataFrame({"row": [0]})
    kept, rejects = split_rejects(frame.with_columns(build_no_faults(1).alias(FAULT)), "f", {})
    assert kept.equals(frame)
    assert rejects.is_empty()
