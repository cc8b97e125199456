"""Reject rows: each with one reason and the value that was found."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from prefboost.sources.readers.raw import build_no_rejects
from prefboost.tables import REJECTS

__all__ = ["FAULT", "build_no_faults", "split_rejects", "add_fault"]

FAULT = "__fault__"
"""Column of a frame under conversion: why the row is rejected, null where it stays."""

SHOWN = 200


def build_no_faults(height: int) -> pl.Series:
    """Build a column without a fault in any of ``height`` rows."""
    return pl.Series(FAULT, [None], dtype=pl.String).new_from_index(0, height)


def add_fault(frame: pl.DataFrame, faults: Mapping[str, pl.Series]) -> pl.DataFrame:
    """Fill `FAULT` with the first fault of each row: ``the {part} {fault}``. A fault already there stays."""
    occurring = {part: fault for part, fault in faults.items() if fault.null_count() < fault.len()}
    earlier = frame[FAULT] if FAULT in frame.columns else build_no_faults(frame.height)
    if not occurring:
        return frame.with_columns(earlier.alias(FAULT))
    reasons = pl.DataFrame([earlier.alias("known"), *(fault.alias(part) for part, fault in occurring.items())])
    worded = [pl.format("the {} {}", pl.lit(part), pl.col(part)) for part in occurring]
    return frame.with_columns(reasons.select(pl.coalesce("known", *worded).alias(FAULT)).to_series())


def split_rejects(
    frame: pl.DataFrame, path: str, value_columns: Mapping[str, str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split a frame into the rows without `FAULT`, and rejects of the others.

    Args:
        frame: has ``row`` and `FAULT`, and possibly ``prompt_id``, ``completion_id`` or ``pair_id``.
        path: the file.
        value_columns: a word in the reason -> the column whose value is shown as found.
    """
    bad = frame[FAULT].is_not_null()
    if not bad.any():
        return frame.drop(FAULT), build_no_rejects()
    columns = {word: column for word, column in value_columns.items() if column in frame.columns}
    ids = [name for name in ("pair_id", "completion_id", "prompt_id") if name in frame.columns]
    faulty = frame.filter(bad).select("row", FAULT, *dict.fromkeys((*ids, *columns.values())))
    records = []
    for record in faulty.iter_rows(named=True):
        # A reason about "score.honesty" begins with "score" too, so the longest word names the value.
        about = max((word for word in columns if record[FAULT].startswith(f"the {word}")), key=len, default=None)
        value = None if about is None else record[columns[about]]
        text = value if isinstance(value, str) else repr(value)
        records.append(
            {
                "stage": "read",
                "path": path,
                "row": record["row"],
                "id": next((str(record[name]) for name in ids if record[name] is not None), None),
                "reason": record[FAULT],
                "found": None if about is None else text[:SHOWN].replace("\0", "\\0"),
            }
        )
    return frame.filter(~bad).drop(FAULT), pl.DataFrame(records, schema=REJECTS)
