"""Tables of an inspected source, as streams that can be read more than once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from prefboost.diagnosis.goal_files import open_goal_pairs, read_goal_pairs
from prefboost.errors import Place, UnreadableFile
from prefboost.sources import Columns, File, Source, read_batches
from prefboost.sources.readers.files import Readers, open_path_reader
from prefboost.sources.readers.split_files import find_split_word
from prefboost.tables import Table

__all__ = ["Stream", "open_stream"]

Stream = Callable[[], Iterator[Table]]
"""Yields the same tables from the start at every call."""


def open_stream(source: str | Path | Source | Table, columns: Columns) -> Stream:
    """Open a source as a stream of tables.

    Goal pairs are read with their broken rows; a folder, glob or saved data set with several splits is read split by
    split, so that a prompt in two of them is seen.

    Raises:
        DataError: as `prefboost.read`.
    """
    if isinstance(source, Table):
        return lambda: iter([source])
    if not isinstance(source, str | Path):
        return lambda: read_batches(source, columns=columns)
    # Goal pairs first: `read` would refuse a file of them that breaks a fact.
    goals = open_goal_pairs(source)
    if goals is not None:
        return lambda: read_goal_pairs(goals)
    parts = _list_saved_splits(Path(source).expanduser()) or _list_split_files(Path(source).expanduser())
    if not parts:
        return lambda: _read_tables(_build_file(str(source)), None, columns)
    return lambda: (table for file, split in parts for table in _read_tables(file, split, columns))


def _build_file(path: str, split: str | None = None) -> File:
    # No lint needs a prompt's pairs in one batch, and without that a file is read once less.
    return File(path=path, split=split, whole_prompts=False)


def _read_tables(file: File, split: str | None, columns: Columns) -> Iterator[Table]:
    for table in read_batches(file, columns=columns):
        has_split = split is None or "split" in table.frame.columns
        yield table if has_split else replace(table, frame=table.frame.with_columns(split=pl.lit(split)))


def _list_saved_splits(folder: Path) -> list[tuple[File, str]]:
    listing = folder / "dataset_dict.json"
    if not listing.is_file():
        return []
    try:
        names = list(json.loads(listing.read_text(encoding="utf-8"))["splits"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UnreadableFile(
            f"the list of splits cannot be read: {type(error).__name__}",
            remedy="save the data set again with save_to_disk",
            place=Place(str(listing)),
        ) from error
    return [(_build_file(str(folder), name), str(name)) for name in names]


def _list_split_files(path: Path) -> list[tuple[File, str]]:
    """List the files of a folder or glob with their splits; empty where they do not name two or more."""
    readers = open_path_reader(str(path))
    if not isinstance(readers, Readers):
        return []
    if len(set(readers.splits) - {None}) < 2:
        return []
    return [
        (_build_file(member.path), find_split_word(Path(split or "train")) or split or "train")
        for member, split in zip(readers.members, readers.splits, strict=True)
    ]
