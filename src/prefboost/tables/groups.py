"""Rows that belong together, by number instead of by name."""

from __future__ import annotations

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.tables.table import Table

__all__ = ["group_numbers", "refuse_shared_ids"]


def group_numbers(labels: pl.Series) -> pl.Series:
    """Number rows by their label: equal exactly where labels are, and rising where equal labels are adjacent.

    Groups by number are found several times faster than groups by text.
    """
    runs = labels.rle_id()
    together = labels.is_empty() or runs[-1] + 1 == labels.n_unique()
    return runs if together else labels.rank("dense")


def refuse_shared_ids(table: Table) -> None:
    """Refuse a table in which answers to different questions would be compared, as their ``prompt_id`` is one.

    What `prefboost.read` gives has passed; tables made in memory have not. Costs 0.2 microseconds per row.

    Raises:
        DataError: names the id, and the first row whose prompt is another than the first of that id.
    """
    frame = table.frame
    content = frame["prompt"].hash(0)
    again = frame["prompt_id"] == frame["prompt_id"].shift(1)
    if not (again & (content != content.shift(1))).any():
        # Rows of a prompt nearly always stand together, so that few are left to be compared by their names.
        firsts = pl.DataFrame({"id": frame["prompt_id"], "content": content}).filter(~again.fill_null(value=False))
        ids = firsts["id"].n_unique()
        if ids == firsts.height or ids == firsts.n_unique():
            return
    other = pl.col("prompt").hash(0) != pl.col("prompt").hash(0).first().over("prompt_id")
    first = frame.filter(other).row(0, named=True)
    raise DataError(
        f"different prompts have the prompt_id {first['prompt_id']!r}",
        remedy="give only equal prompts the same id, e.g. a hash of their messages",
        place=Place(path=table.path, row=first["row"], column="prompt_id"),
    )
