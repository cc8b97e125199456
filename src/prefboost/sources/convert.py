"""`to_dataset` and `to_polars`: tables to objects of other libraries, in the shape of any trainer's own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from prefboost.errors import DataError, Place, require_extra
from prefboost.sources.write import find_table_export, shape
from prefboost.sources.writers.file_types import FILE_TYPES
from prefboost.tables import Table

if TYPE_CHECKING:
    import datasets

__all__ = ["to_dataset", "to_polars"]


def to_polars(table: Table, format: str = "prefboost", *, drop_rejects: bool = False) -> pl.DataFrame:
    """Give a table as a Polars frame.

    Args:
        table: any table for ``format="prefboost"``; GoalPairs for a trainer's format, or completions for ``trl``.
        format: see `prefboost.sources.writers.exports.EXPORTS`.
        drop_rejects: leave out rows that the format cannot hold, instead of refusing them.

    Raises:
        DataError: the format needs GoalPairs, or cannot hold some rows; names the reasons and counts.
    """
    shaped = shape(table.frame, find_table_export(table, format), FILE_TYPES["parquet"], path=table.path)
    if shaped.rejects.height and not drop_rejects:
        counts = shaped.rejects.group_by("reason", maintain_order=True).len().rows()
        raise DataError(
            f"{shaped.rejects.height:,} rows cannot be given as {format}: "
            + "; ".join(f"{count:,}: {reason}" for reason, count in counts),
            remedy=f"drop_rejects=True leaves them out; prefboost.write(table, 'FILE.jsonl', format={format!r}) writes "
            "them where JSON lines can hold them",
            place=Place(path=table.path, row=shaped.rejects["row"][0]),
        )
    return shaped.frame


def to_dataset(table: Table, format: str = "prefboost", *, drop_rejects: bool = False) -> datasets.Dataset:
    """Give a table as a data set of `datasets`: ``DPOTrainer(train_dataset=to_dataset(table, "trl"), ...)``.

    Args:
        table, format, drop_rejects, raises: as in `to_polars`.

    Raises:
        MissingExtra: `datasets` is not installed.
    """
    with require_extra("datasets", "hub"):
        import datasets
    return datasets.Dataset.from_polars(to_polars(table, format, drop_rejects=drop_rejects))
