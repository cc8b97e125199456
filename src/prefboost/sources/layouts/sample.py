"""The first records of a source, from which the meaning of its columns is guessed."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.readers.content import detect_ending
from prefboost.sources.readers.encodings import NOT_UTF8
from prefboost.sources.readers.endings import get_format_ending
from prefboost.sources.readers.files import FORMATS
from prefboost.sources.readers.raw import Reader

__all__ = ["SAMPLE_ROWS", "sample_records"]

SAMPLE_ROWS = 2_000
"""Number of records that the guess is made from."""


def sample_records(reader: Reader) -> pl.DataFrame:
    """Read the first records, for the guess; lines rejected on the way are counted later.

    Raises:
        DataError: there are none.
    """
    first, reasons = None, set[str]()
    for batch in reader.batches(None, SAMPLE_ROWS):
        if batch.frames:
            return max(batch.frames, key=lambda frame: frame.height)
        reasons.update(batch.rejects["reason"])
        first = batch.rejects["found"][0] if first is None and batch.rejects.height else first
    path = Path(reader.path)
    ending = detect_ending(path) if path.is_file() else None
    misnamed = ending is not None and FORMATS[ending] != FORMATS.get(get_format_ending(path))
    remedy = f"its bytes look like {ending}: name the file so" if misnamed else "check how the file was written"
    raise DataError(
        "the file has no rows" if first is None else f"no line is a usable record; first: {first}",
        remedy=NOT_UTF8.partition(": ")[2] if reasons == {NOT_UTF8} else remedy,
        place=Place(reader.path),
    )
