"""Verdicts that `judge` has written: read as they are, or as the pairs that they label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.sources.messages.conversations import convert_messages
from prefboost.tables import VERDICTS, Step, Table, conform

__all__ = ["holds_verdicts", "read_verdicts"]

_SIGNS = {"verdict_id", "pair_id", "shown_first", "first", "second", "verdict"}
_TEXTS = {"prompt": "user", "first": "assistant", "second": "assistant"}


def holds_verdicts(path: str | Path) -> bool:
    """Tell whether a local file is one that `judge` has written; reads names of columns alone."""
    file = Path(path)
    if not file.is_file():
        return False
    try:
        if file.suffix == ".parquet":
            return set(pl.read_parquet_schema(file)) >= _SIGNS
        if file.suffix == ".jsonl":
            with file.open(encoding="utf-8") as stream:
                record = json.loads(stream.readline())
            return isinstance(record, dict) and set(record) >= _SIGNS
    except (OSError, ValueError, pl.exceptions.PolarsError):  # whoever reads it for good says what is wrong
        return False
    return False


def read_verdicts(path: str | Path) -> Table:
    """Read a file that `judge` has written.

    Args:
        path: ``.parquet`` or ``.jsonl``.

    Returns:
        Verdicts, whose declared facts hold.

    Raises:
        DataError: the file holds no verdicts, or breaks a fact of theirs.
    """
    file = Path(path)
    if not holds_verdicts(file):
        raise DataError(
            "this is not a file of verdicts",
            remedy="name a file that `prefboost judge` wrote",
            place=Place(str(file)),
        )
    try:
        frame = pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_ndjson(file, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UnreadableFile(
            f"the file of verdicts is damaged: {error}", remedy="judge the pairs again", place=Place(str(file))
        ) from error
    for name, role in _TEXTS.items():
        messages, faults = convert_messages(frame[name], role)
        fault = next((str(reason) for reason in faults.drop_nulls()), None)
        if fault is not None:
            raise DataError(
                f"a conversation {fault}", remedy="judge the pairs again", place=Place(str(file), column=name)
            )
        frame = frame.with_columns(messages.alias(name))
    types: dict[str, Any] = {column.name: column.dtype for column in VERDICTS.columns if column.name in frame.columns}
    frame = frame.select(*types).with_columns(
        pl.col(name).cast(dtype) for name, dtype in types.items() if name not in _TEXTS
    )
    step = Step("read", {"path": str(path)}, rows_in=frame.height, rows_out=frame.height)
    return Table(VERDICTS, conform(frame, VERDICTS, path=str(file)), steps=(step,), path=str(file))
