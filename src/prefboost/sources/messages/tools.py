"""Tools of a whole conversation that stand in a column of their own, as chat templates take them (``tools=``)."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from prefboost.chat.messages import with_tools
from prefboost.sources.messages.keys import drop_filled_nulls
from prefboost.tables import MESSAGES

__all__ = ["offer_tools"]

NO_TOOLS = "are not a list of tools"


def offer_tools(prompts: pl.Series, tools: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Put tools beside the first message of each prompt.

    Args:
        prompts: messages, null where there are none.
        tools: for each row a list of schemas, or the JSON of one; null, blank texts and empty lists are no tools. Nulls
            within a list are left out: a Parquet file fills them in where another row's schema has the key.

    Returns:
        the prompts, and what is wrong with the tools of each row, null where nothing is.
    """
    faults: list[str | None] = []
    offered: list[Any] = []
    for value in tools.to_list():
        schemas = _read_tools(value, tools.dtype)
        faults.append(NO_TOOLS if schemas is None else None)
        offered.append(schemas or None)
    fault = pl.Series("f", faults, dtype=pl.String)
    present = zip(offered, prompts.is_not_null(), strict=True)
    rows = [at for at, (schemas, prompt) in enumerate(present) if schemas and prompt]
    if not rows:
        return prompts, fault
    new = [with_tools(prompt, offered[at]) for at, prompt in zip(rows, prompts.gather(rows).to_list(), strict=True)]
    index = pl.Series("at", rows, dtype=pl.Int64)
    changed = prompts.to_frame("m").with_row_index("at").with_columns(pl.col("at").cast(pl.Int64))
    whole = changed.join(pl.DataFrame({"at": index, "new": pl.Series("new", new, dtype=MESSAGES)}), on="at", how="left")
    return whole.sort("at").select(pl.coalesce("new", "m").alias("m")).to_series(), fault


def _read_tools(value: Any, dtype: Any = None) -> list[Any] | None:
    """Read the tools that a value holds, an empty list for none; None where it is something else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
        if value is None:
            return []
        return value if isinstance(value, list) and all(isinstance(tool, dict) for tool in value) else None
    if not isinstance(value, list):
        return None
    texts = [
        _read_tools(f"[{tool}]") if isinstance(tool, str) else [drop_filled_nulls(tool, getattr(dtype, "inner", None))]
        for tool in value
    ]
    whole = [tool for tools in texts for tool in tools or [None]]
    return whole if all(isinstance(tool, dict) for tool in whole) else None
