"""Read goal pairs back from a file without refusing those that break a fact, so that they can be shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.messages.conversations import convert_messages
from prefboost.sources.readers.files import open_path_reader
from prefboost.sources.readers.raw import ROW, Reader
from prefboost.sources.rows.faults import FAULT, add_fault, split_rejects
from prefboost.tables import GOAL_PAIRS, MESSAGES, Step, Table, aspects_of

__all__ = ["read_goal_pairs", "open_goal_pairs"]

_KEY = "goal_pair_id"
_TEXTS = {"prompt": ("prompt", "messages", "conversations"), "chosen": ("chosen",), "rejected": ("rejected",)}
"""Columns in which the exports of `prefboost augment` hold messages."""

_NUMBERS = ("score_chosen", "score_rejected", "goal", "distance_chosen", "distance_rejected")


def open_goal_pairs(path: str | Path) -> Reader | None:
    """Open a file or folder of goal pairs; None where it is no file, or holds something else.

    Raises:
        UnreadableFile, DataError: as `prefboost.read`.
    """
    folder = Path(path).expanduser()
    inside = folder / "data" if (folder / "prefboost.json").is_file() and (folder / "data").is_dir() else folder
    reader = open_path_reader(str(inside))
    first = None if reader is None else next((batch for batch in reader.batches(None, 100) if batch.frames), None)
    return reader if first is not None and _KEY in first.frames[0].columns else None


def read_goal_pairs(reader: Reader) -> Iterator[Table]:
    """Read goal pairs as tables whose facts have not been checked; rows that hold no pair are rejects.

    Raises:
        DataError: there is no prompt, chosen or rejected column.
    """
    for batch in reader.batches(None, None):
        parts = [_convert(frame, reader.path) for frame in batch.frames]
        rejects = pl.concat([batch.rejects, *(rejected for _, rejected, _ in parts)])
        frame = pl.concat([pairs for pairs, _, _ in parts], how="diagonal") if parts else None
        if frame is None:
            continue
        counts = Counter(rejects["reason"].to_list())
        notes = {"records": batch.records, "guess": {"shape": "goal pairs", **parts[0][2]}}
        step = Step("read", {}, batch.records, frame.height, dict(counts), notes)
        yield Table(GOAL_PAIRS, frame, rejects, (step,), path=reader.path)


def _convert(raw: pl.DataFrame, path: str) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Return goal pairs, rejects, and the column that each part was read from."""
    sources = {part: _find_column(raw, names, path) for part, names in _TEXTS.items()}
    # What cannot be cast becomes null and shows as a broken fact: the file is inspected, not refused.
    columns: dict[str, pl.Series] = {}
    faults = {}
    for part, name in sources.items():
        messages, faults[part] = convert_messages(raw[name], "user" if part == "prompt" else "assistant")
        columns[part] = messages.cast(MESSAGES)
    for name in (_KEY, "pair_id", "prompt_id", "view", "split"):
        columns[name] = _cast(raw, name, pl.String)
    aspects = [f"{family}.{aspect}" for family in _NUMBERS[:3] for aspect in aspects_of(raw.columns, family)]
    for name in (*_NUMBERS, *aspects):
        columns[name] = _cast(raw, name, pl.Float64)
    missing = pl.when(columns[_KEY].is_null()).then(pl.lit("is missing"))
    faults[_KEY] = raw.select(missing.alias(_KEY)).to_series()
    rows = pl.DataFrame({"row": raw[ROW], **columns, "flipped": _cast(raw, "flipped", pl.Boolean)})
    if "split" not in raw.columns:
        rows = rows.drop("split")
    rows = rows.with_columns(pl.col("pair_id").fill_null(pl.col(_KEY).str.replace(r"/[^/]*$", "")))
    rows = rows.with_columns(prompt_id=pl.col("prompt_id").fill_null(pl.col("pair_id")))
    pairs, rejected = split_rejects(add_fault(rows, faults), path, {})
    return pairs.drop(FAULT, strict=False), rejected, {**sources, "goal": "goal", "goal_pair_id": _KEY}


def _find_column(raw: pl.DataFrame, names: tuple[str, ...], path: str) -> str:
    name = next((name for name in names if name in raw.columns), None)
    if name is None:
        raise DataError(
            f"goal pairs without a column {names[0]!r}; found {', '.join(raw.columns)}",
            remedy="inspect a file as `prefboost augment` writes it",
            place=Place(path, column=names[0]),
        )
    return name


def _cast(raw: pl.DataFrame, name: str, dtype: type[pl.DataType]) -> pl.Series:
    """Cast a column to another type; what cannot be cast is null."""
    if name not in raw.columns or raw[name].dtype.is_nested():
        return pl.Series(name, [None], dtype=dtype).new_from_index(0, raw.height)
    if dtype is pl.Boolean and raw[name].dtype == pl.String:
        return raw.select(pl.col(name).str.to_lowercase().replace_strict({"true": True, "false": False}, default=None))[
            name
        ]
    return raw[name].cast(dtype, strict=False)
