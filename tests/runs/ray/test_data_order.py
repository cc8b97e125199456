"""Rows of parts come back in the order of the file, from whatever parts they are."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any, cast

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from tests.runs.ray.rows import SpreadHere

from prefboost.runs.ray.data_order import RowFormat, order_parts, write_ranges
from prefboost.runs.ray.data_plan import ReadPlan
from prefboost.sources.readers.pieces import Piece
from prefboost.tables import GOAL_PAIRS, REJECTS, Table


def build_part(rows: list[int], rejects: list[int | None]) -> Table:
    frame = pl.DataFrame(
        {"row": sorted(rows), "text": [f"row {row}" for row in sorted(rows)]}, {"row": pl.Int64, "text": pl.String}
    )
    ids = [f"reject {number}" for number in range(len(rejects))]
    texts = dict.fromkeys(("stage", "path", "id", "reason", "found"), ids)
    return Table(GOAL_PAIRS, frame, pl.DataFrame({**texts, "row": rejects}, REJECTS))


def order(folder: Path, parts: list[Table], pieces: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    spans = tuple(Piece("", 0, 5, 5, first=5 * number) for number in range(pieces))
    plan = ReadPlan(cast(Any, None), spans, folder)
    for number, part in enumerate(parts):
        write_ranges(plan, number, part)
    head = Table(GOAL_PAIRS, parts[0].frame.clear())
    table = order_parts(SpreadHere(), plan, head, RowFormat()).as_table(head)
    assert table.rows == sum(len(part) for part in parts)
    assert sum(table.rejected.values()) == sum(part.rejects.height for part in parts)
    collected = table.collect()
    return collected.frame, collected.rejects


@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 24), st.randoms(use_true_random=False))
def test_every_row_and_reject_is_there_once_in_the_order_of_the_file(
    pieces: int, count: int, most: int, rng: random.Random
) -> None:
    parts = [
        build_part(
            [row for row in range(most) if rng.randrange(count) == 0 for _ in range(rng.randrange(3))],
            [rng.choice([None, *range(5 * pieces)]) for _ in range(rng.randrange(4))],
        )
        for _ in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        frame, rejects = order(Path(folder), parts, pieces)
    assert_frame_equal(frame, pl.concat([part.frame for part in parts]).sort("row", maintain_order=True))
    whole = pl.concat([part.rejects for part in parts]).sort("row", maintain_order=True)
    assert_frame_equal(rejects, whole)


def test_a_range_that_was_damaged_is_made_again(tmp_path: Path) -> None:
    parts = [build_part([0, 7], []), build_part([3, 8], [4])]
    first = order(tmp_path, parts, 2)
    (tmp_path / "ordered-rows.0000001").write_bytes(b"damage")
    again = order(tmp_path, parts, 2)
    for one, other in zip(first, again, strict=True):
        assert_frame_equal(one, other)
