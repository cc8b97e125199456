"""Read the texts of a benchmark file, whatever its columns are called."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.columns import NAMES, find_first_column
from prefboost.sources.readers.files import open_path_reader

__all__ = ["read_question_texts"]

_QUESTION_COLUMNS = ("turns", "goal", "ctx", "sentence", "text")
"""Names that benchmarks give to their questions, besides those of prompts in preference data."""


def read_question_texts(path: str | Path) -> list[str]:
    """Read every text in the columns of a data file that hold questions: prompt, question, turns ...

    Args:
        path: Parquet, Arrow, JSON lines or CSV of any shape.

    Raises:
        UnreadableFile, DataError: as `prefboost.read`; or no column holds questions.
    """
    reader = open_path_reader(str(path))
    texts: list[str] = []
    columns: dict[str, None] = {}
    for batch in [] if reader is None else reader.batches(None, None):
        for frame in batch.frames:
            columns |= dict.fromkeys(frame.columns)
            for name in (*NAMES["prompt"], *_QUESTION_COLUMNS):
                column = find_first_column(frame.schema, (name,))
                texts += [] if column is None else _list_strings(frame[column])
    if not texts:
        raise DataError(
            f"the benchmark has no column with questions; found {', '.join(columns) or 'nothing'}",
            remedy=f"rename one to prompt (known: {', '.join((*NAMES['prompt'], *_QUESTION_COLUMNS))}), or give a .txt "
            "file with one prompt per line",
            place=Place(str(path)),
        )
    return texts


def _list_strings(values: pl.Series) -> list[str]:
    """List texts, also those in lists, and the contents of messages."""
    while isinstance(values.dtype, pl.List):
        values = values.drop_nulls().explode()
    if isinstance(values.dtype, pl.Struct):
        names = [item.name for item in values.dtype.fields]
        inner = next((name for name in ("content", "value") if name in names), None)
        return [] if inner is None else _list_strings(values.struct.field(inner))
    return values.drop_nulls().to_list() if values.dtype == pl.String else []
