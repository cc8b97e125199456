"""Shapes of records, and the stacking of what they convert to."""

from __future__ import annotations

import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.rows.record_shapes import PAIRS, SHAPES, concat_declared


def test_every_shape_names_its_tables_and_pairs_are_shapes() -> None:
    assert set(PAIRS) <= set(SHAPES)
    assert all(shape.scored.columns and shape.bare.columns and shape.unit for shape in SHAPES.values())


def test_rows_are_stacked_in_the_order_of_the_file_without_foreign_columns() -> None:
    frames = [
        pl.DataFrame({"row": [3], "prompt_id": ["b"], "raw.x": [1]}),
        pl.DataFrame({"row": [1], "prompt_id": ["a"]}),
    ]
    stacked = concat_declared(frames, Layout("prompts", {"prompt": "p"}), SHAPES["prompts"].bare)
    assert stacked["row"].to_list() == [1, 3] and stacked.columns == ["row", "prompt_id"]


def test_no_rows_make_an_empty_frame_of_the_declared_columns() -> None:
    empty = concat_declared([], Layout("flat", {"prompt": "p", "score": "s"}), SHAPES["flat"].scored)
    assert empty.height == 0 and "prompt" in empty.columns
