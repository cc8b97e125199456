"""Data in memory as a reader: frames of Polars, pandas and Arrow, data sets of `datasets`, lists of records.

Lists, and frames whose cells vary in type, go through the reader of JSON lines, so that the same records are rejected
for the same reasons as in a file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
import pyarrow as pa

from prefboost.errors import DataError, Place
from prefboost.sources.readers.hub import pick_split, read_dataset_batches
from prefboost.sources.readers.json_lines import parse_block
from prefboost.sources.readers.raw import MOST_ROWS, RawBatch, add_row_numbers
from prefboost.sources.readers.text_files import Block

__all__ = ["MemoryReader", "hash_data", "holds_data", "name_data"]

JSON_ROWS = 5_000
"""Records of a list that are turned into JSON lines at a time."""


def holds_data(data: object) -> bool:
    """Tell whether `MemoryReader` reads an object."""
    if isinstance(data, pl.DataFrame | pl.LazyFrame | pa.Table | list | tuple):
        return True
    return _is_of(data, "pandas", "DataFrame") or _is_data_set(data)


def name_data(data: object) -> str:
    """Name data by their type, as messages about rows do: ``<pandas.DataFrame>``."""
    module, name = type(data).__module__.partition(".")[0], type(data).__name__
    return f"<{name}>" if module == "builtins" else f"<{module}.{name}>"


def hash_data(data: object) -> str:
    """Hash the content of data; equal records of the same type have equal hashes."""
    digest = hashlib.sha256()
    for batch in MemoryReader(data).batches(None, None):
        for frame in batch.frames:
            digest.update(str(frame.schema).encode())
            digest.update(frame.hash_rows(seed=0).to_numpy().tobytes())
        digest.update(batch.rejects.write_json().encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class MemoryReader:
    """Records that are in memory.

    Args:
        data: see `holds_data`.
        split: of a mapping of splits; None: train, or the only one.
    """

    data: Any
    split: str | None = None

    @property
    def path(self) -> str:
        """The name of the data in messages."""
        return name_data(self.data)

    @property
    def is_one_split(self) -> bool:
        """Whether the records are those of the split that was named."""
        return isinstance(self.data, Mapping)

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.files.Reader`."""
        if _is_data_set(self.data):
            yield from read_dataset_batches(pick_split(self.data, self.split, self.path), columns, rows, self.path)
            return
        records = self.records
        if isinstance(records, pl.DataFrame):
            chosen = records if columns is None else records.select(columns)
            step = min(rows or MOST_ROWS, MOST_ROWS)
            for first in range(0, max(chosen.height, 1), step):
                yield RawBatch((add_row_numbers(chosen.slice(first, step), first),))
            return
        step = min(rows or JSON_ROWS, JSON_ROWS)
        for first in range(0, len(records), step):
            lines = [_dump(record, first + at, self.path) for at, record in enumerate(records[first : first + step])]
            yield parse_block(Block(b"\n".join(lines), first + 1), first, self.path)

    @cached_property
    def records(self) -> pl.DataFrame | Sequence[Any]:
        """The data as one frame, or as records where their cells may have no common type.

        Converted once: a reader runs over its data several times, and a lazy query may give other rows each time.
        """
        data = self.data
        if isinstance(data, pl.DataFrame | pl.LazyFrame):
            return data.lazy().collect()
        if isinstance(data, list | tuple):
            return data
        try:
            # As `to_parquet` writes it: NaN is what pandas has for a missing value.
            table = data if isinstance(data, pa.Table) else pa.Table.from_pandas(data, preserve_index=False)
            return pl.DataFrame(pl.from_arrow(table))
        except pa.ArrowException:
            if isinstance(data, pa.Table):
                raise
        rows = zip(data.to_dict("records"), data.isna().to_dict("records"), strict=True)
        return [
            {str(name): None if missing[name] else value for name, value in cells.items()} for cells, missing in rows
        ]


def _is_of(data: object, module: str, name: str) -> bool:
    """Tell whether an object is of a class of a library that may not be installed; it is not imported for that."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(data, kind)


def _is_data_set(data: object) -> bool:
    names = ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict")
    return any(_is_of(data, "datasets", name) for name in names)


def _dump(record: object, row: int, path: str) -> bytes:
    column = None

    def convert(value: Any) -> Any:
        # NumPy's arrays and numbers, and dates: what data frames hold beside JSON's own types.
        for method in ("tolist", "isoformat"):
            if hasattr(value, method):
                return getattr(value, method)()
        raise TypeError(f"a value of type {type(value).__name__}")

    try:
        if not isinstance(record, Mapping):
            return json.dumps(record, ensure_ascii=False, default=convert).encode("utf-8", "surrogatepass")
        cells = []
        for name, value in record.items():
            column = str(name)
            cells.append(f"{json.dumps(column)}: {json.dumps(value, ensure_ascii=False, default=convert)}")
        return f"{{{', '.join(cells)}}}".encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a record cannot be written as JSON: {error}",
            remedy="give texts, numbers, lists and dicts",
            place=Place(path, row=row, column=column),
        ) from error
