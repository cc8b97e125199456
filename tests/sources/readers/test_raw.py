"""Raw batches count what they hold."""

from __future__ import annotations

import polars as pl

from prefboost.sources.readers.raw import ROW, RawBatch, build_line_rejects


def test_records_are_those_in_frames_and_those_set_aside() -> None:
    batch = RawBatch((pl.DataFrame({ROW: [0, 2]}),), build_line_rejects([(1, 2, "bad", "odd", "{")], "f"))
    assert batch.records == 3
    assert batch.rejects["found"].to_list() == ["f:2: odd: {"]
