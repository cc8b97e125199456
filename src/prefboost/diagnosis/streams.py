"""The tables of whatever is inspected, as streams that can be run through more than once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl

from prefboost.diagnosis.goal_files import goal_pair_tables, goal_reader
from prefboost.errors import Place, UnreadableFile
from prefboost.sources import Columns, File, Source, read_batches
from prefboost.sources.readers.files import Readers, find_files
from prefboost.sources.readers.split_files import split_named
from prefboost.tables import Table

__all__ = ["Stream", "stream_of"]

Stream = Callable[[], Iterator[Table]]
"""Called again, it gives the same tables from the start."""


def stream_of(source: str | Path | Source | Table, columns: Columns) -> Stream:
    """How the tables of a source are streamed.

    Goal pairs are read with their broken rows; a folder, glob or saved data set with several splits is read split by
    split, so that a prompt in two of them is seen.

    Raises:
        DataError: as `prefboost.read`.
    """
    if isinstance(source, Table):
        return lambda: iter([source])
    if not isinstance(source, str | Path):
        return lambda: read_batches(source, columns=columns)
    goals = goal_reader(source)
    if goals is not None:
        return lambda: goal_pair_tables(goals)
    parts = _saved_splits(Path(source).expanduser()) or _split_files(Path(source).expanduser())
    if not parts:
        return lambda: _tables(_file(str(source)), None, columns)
    return lambda: (table for file, split in parts for table in _tables(file, split, columns))


def _file(path: str, split: str | None = None) -> File:
    # Nothing here needs a prompt's pairs in one batch, and without that a file is run through once less.
    return File(path=path, split=split, whole_prompts=False)


def _tables(file: File, split: str | None, columns: Columns) -> Iterator[Table]:
    for table in read_batches(file, columns=columns):
        named = split is None or "split" in table.frame.columns
        yield table if named else replace(table, frame=table.frame.with_columns(split=pl.lit(split)))


def _saved_splits(folder: Path) -> list[tuple[File, str]]:
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
    return [(_file(str(folder), name), str(name)) for name in names]


def _split_files(path: Path) -> list[tuple[File, str]]:
    """The files of a folder or glob with their splits; nothing where they do not name two or more."""
    found = find_files(str(path))
    if not isinstance(found, Readers):
        return []
    if len(set(found.splits) - {None}) < 2:
        return []
    return [
        (_file(member.path), split_named(Path(split or "train")) or split or "train")
        for member, split in zip(found.members, found.splits, strict=True)
    ]
