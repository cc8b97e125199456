"""Data sets of the Hugging Face hub and folders saved with ``save_to_disk``, read with the `datasets` library."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from prefboost.errors import DataError, Place, UnreadableFile, UnreadData, require_extra
from prefboost.sources.readers.raw import MOST_ROWS, RawBatch, add_row_numbers

__all__ = ["HubReader", "SavedReader", "is_hub_id", "is_saved_folder", "pick_split", "read_dataset_batches"]

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
SAMPLE_ROWS = 10_000


def is_hub_id(path: str) -> bool:
    """Tell whether a path can be the name of a data set on the hub: ``organisation/name``."""
    return HUB_ID.fullmatch(path) is not None


def is_saved_folder(path: Path) -> bool:
    """Tell whether a folder was written by ``save_to_disk``."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


@dataclass(frozen=True)
class HubReader:
    """A data set of the hub.

    Args:
        path: ``organisation/name``.
        split: its name; None: train, or the only one.
        revision: commit, branch or tag.
        config: name of the configuration.
        streaming: read over the network instead of keeping a copy in the cache.
    """

    path: str
    split: str | None = None
    revision: str | None = None
    config: str | None = None
    streaming: bool = False

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        datasets = _import_datasets()
        try:
            loaded = datasets.load_dataset(self.path, self.config, revision=self.revision, streaming=self.streaming)
        except Exception as error:  # the hub client raises many kinds: no network, no such name, gated, bad config
            raise UnreadableFile(
                f"the hub does not give this data set: {_cut_message(error)}",
                remedy="check name, revision and config, your network and login; or give a local file or folder",
                place=Place(self.path),
            ) from error
        yield from read_dataset_batches(pick_split(loaded, self.split, self.path), columns, rows, self.path)


@dataclass(frozen=True)
class SavedReader:
    """A folder written by ``save_to_disk``."""

    path: str
    split: str | None = None

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        datasets = _import_datasets()
        try:
            loaded = datasets.load_from_disk(self.path)
        except Exception as error:  # any damage of the folder's files
            raise UnreadableFile(
                f"not readable as a saved data set: {_cut_message(error)}",
                remedy="save it again with save_to_disk",
                place=Place(self.path),
            ) from error
        yield from read_dataset_batches(pick_split(loaded, self.split, self.path), columns, rows, self.path)


def _import_datasets() -> Any:
    with require_extra("datasets", "hub"):
        import datasets
    return datasets


def _cut_message(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "")[:300] or type(error).__name__


def pick_split(loaded: Any, split: str | None, path: str) -> Any:
    """Pick a split of a loaded data set: the named one, train, or the only one; others are named in a warning.

    Raises:
        DataError: there is no such split.
    """
    # Folders saved from one Dataset have no splits.
    if not isinstance(loaded, Mapping):
        return loaded
    names = list(loaded)
    chosen = split or ("train" if "train" in names or len(names) != 1 else names[0])
    if chosen not in names:
        raise DataError(
            f"no split {chosen!r}; found {', '.join(map(str, names)) or 'none'}",
            remedy="name one of them: split=...",
            place=Place(path),
        )
    counts = {name: getattr(loaded[name], "num_rows", None) for name in names if name != chosen}
    sizes = {name: f"{count:,} rows" if isinstance(count, int) else "not counted" for name, count in counts.items()}
    others = ", ".join(f"{name} ({size})" for name, size in sizes.items())
    if split is None and others:
        warnings.warn(
            f"{path}: only the split {chosen} is read, not {others}; another is read with data.split=NAME",
            UnreadData,
            stacklevel=2,
        )
    return loaded[chosen]


def read_dataset_batches(data: Any, columns: Sequence[str] | None, rows: int | None, path: str) -> Iterator[RawBatch]:
    """Yield the records of a data set of `datasets`; see `prefboost.sources.readers.raw.Reader`."""
    chosen = data if columns is None else data.select_columns(list(columns))
    first = 0
    try:
        for table in chosen.with_format("arrow").iter(batch_size=min(rows or SAMPLE_ROWS, MOST_ROWS)):
            frame = pl.DataFrame(pl.from_arrow(pa.table(table)))
            yield RawBatch((add_row_numbers(frame, first),))
            first += frame.height
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        raise UnreadableFile(
            f"reading stopped at record {first:,}: {_cut_message(error)}",
            remedy="run again; a data set in the cache may have to be fetched anew",
            place=Place(path, row=first),
        ) from error
