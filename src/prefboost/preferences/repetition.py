"""Rows that are left out: outside of limits, or repeated. Of each row numbers are kept, and no texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from prefboost.preferences.likeness import build_exact_key
from prefboost.tables import Table

__all__ = ["Dedupe", "drop_other_ids", "find_rejected_rows", "prefer_given_id"]

Dedupe = Literal["none", "exact", "prompt"]
"""Rows that count as repeated: none; of equal prompt and completions; or of a prompt under another id too."""


def prefer_given_id(columns: Sequence[str]) -> pl.Expr:
    """Take the id that the source gave a prompt, which may be one of several, before our own."""
    prompt_id = pl.col("prompt_id")
    return pl.coalesce("given_prompt_id", prompt_id) if "given_prompt_id" in columns else prompt_id


def find_rejected_rows(
    table: Table, limits: Sequence[pl.Expr], completions: Sequence[str], dedupe: Dedupe
) -> pl.Series:
    """Find why each row is left out.

    Args:
        table: any declared table.
        limits: each holds for the rows that it leaves out; it sees those alone that passed the ones before it.
        completions: columns of completions.
        dedupe: which rows count as repeated.

    Returns:
        0 for a row that stays; the number of its limit, from 1; and behind these a number for a prompt that was seen
        before under another id, and one for a row that was seen before.
    """
    text_columns = ["prompt", *completions]
    ids = [name for name in ("given_prompt_id", "prompt_id") if name in table.schema]
    # 64-bit hashes of what rows may share, since the texts themselves would take most memory. Two different rows of a
    # million have the same hash with a chance of 3e-8.
    hashes: dict[str, pl.Expr] = {} if dedupe == "none" else {"row": pl.struct(text_columns).hash(0)}
    if dedupe == "prompt":
        hashes |= {"text": build_exact_key("prompt").hash(0), "id": prefer_given_id(ids).hash(0)}
    codes: list[NDArray[np.uint8]] = []
    keys: list[pl.DataFrame] = []
    start = 0
    for frame in table.read_frames([*text_columns, *ids]):
        code = np.zeros(frame.height, np.uint8)
        left = frame.with_row_index("_at")
        for number, bad in enumerate(limits, 1):
            mask = left.select(bad.fill_null(False).alias("bad")).to_series()
            code[left["_at"].filter(mask).to_numpy()] = number
            left = left.filter(~mask)
        if hashes:
            keys.append(left.select(pl.col("_at").cast(pl.UInt32) + start, **hashes))
        codes.append(code)
        start += frame.height
    every = np.concatenate(codes)
    if dedupe == "prompt":
        keys = [drop_other_ids(table, pl.concat(keys), every, len(limits) + 1)]
    if hashes:
        seen = pl.concat(keys)
        every[seen["_at"].filter(~seen["row"].is_first_distinct()).to_numpy()] = len(limits) + 2
    return pl.Series(every)


def drop_other_ids(table: Table, keys: pl.DataFrame, codes: NDArray[np.uint8], code: int) -> pl.DataFrame:
    """Set the code of rows whose prompt was seen before under another id, and return the keys of the others."""
    doubtful = keys.filter(pl.col("id").n_unique().over("text") > 1)["_at"]
    # Told by the texts themselves: a collision of hashes would lose a whole prompt.
    columns = [name for name in ("given_prompt_id", "prompt_id", "prompt") if name in table.schema]
    rows = table.take(doubtful.to_list(), columns).with_columns(doubtful, _key=build_exact_key("prompt"))
    prompt_id = prefer_given_id(rows.columns)
    others = rows.filter(prompt_id != prompt_id.first().over("_key"))["_at"]
    codes[others.to_numpy()] = code
    return keys.filter(~pl.col("_at").is_in(others.implode()))
