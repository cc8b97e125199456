"""Ids of completions and pairs that are unique in the whole source, whatever the source itself calls its rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from prefboost.sources.layouts.layout import Layout
from prefboost.sources.readers.raw import Reader
from prefboost.sources.rows.completions import INDEX
from prefboost.sources.rows.parts import find_holder, read_inner_values, read_labels
from prefboost.tables.groups import group_numbers

__all__ = ["NO_IDS", "REPEATED", "assign_ids", "find_repeated_ids"]

REPEATED = "ids made distinct"
"""Note of the step ``read``: how many rows bear an id that others bear too, so that their row was added to it."""

NO_IDS = pl.Series("id", [], dtype=pl.UInt64)
"""No id stands there twice."""


def find_repeated_ids(reader: Reader, layout: Layout, rows: int | None) -> pl.Series:
    """Find the ids that occur more than once in the source, as hashes; empty where the source gives none.

    Runs over the source once, reading only the column that holds the ids where the format allows it; memory grows by
    eight bytes an id.
    """
    part = next((part for part in ("pair_id", "completion_id") if part in layout.parts), None)
    if part is None:
        return NO_IDS
    holder = find_holder(layout, part)
    # Nulls are dropped first, since the hash of null is a number too.
    seen = [
        read_labels(read_inner_values(frame, layout, part)).drop_nulls().hash(0).to_numpy()
        for batch in reader.batches(None if "." in holder else [holder], rows)
        for frame in batch.frames
    ]
    # Sorted hashes show repeats as neighbours, at eight bytes per id and without a table of texts.
    ordered = np.concatenate(seen) if seen else np.empty(0, np.uint64)
    ordered.sort()
    return pl.Series("id", np.unique(ordered[1:][ordered[1:] == ordered[:-1]]), dtype=pl.UInt64)


def assign_ids(frame: pl.DataFrame, repeated: pl.Series) -> tuple[pl.DataFrame, int]:
    """Give completions their ids where the source gives none, and make those distinct that it gives more than once.

    A repeated id becomes ``id#row``, of several completions of one record ``id#row/position``. Which rows bear it
    depends on the whole source alone, not on the order in which its batches come.

    Args:
        frame: rows with ``row``; completions also with `INDEX`, which is dropped.
        repeated: from `find_repeated_ids`.

    Returns:
        the frame, and how many ids were made distinct.
    """
    key = "pair_id" if "pair_id" in frame.columns else "completion_id"
    count = 0
    if repeated.len() and key in frame.columns:
        again = frame.select(pl.col(key).hash(0).is_in(repeated.implode()) & pl.col(key).is_not_null()).to_series()
        where = ["row", INDEX] if INDEX in frame.columns else ["row"]
        distinct = pl.format("{}#" + "/".join(["{}"] * len(where)), key, *where)
        frame = frame.with_columns(pl.when(again).then(distinct).otherwise(key).alias(key))
        count = int(again.sum())
    if INDEX in frame.columns:
        position = pl.int_range(pl.len()).over(group_numbers(frame["prompt_id"]))
        generated = pl.format("{}/{}", "prompt_id", position)
        ids = pl.col("completion_id").fill_null(generated) if "completion_id" in frame.columns else generated
        frame = frame.with_columns(ids.alias("completion_id")).drop(INDEX)
    return frame, count
