"""Conversations that end with their answer, told apart into the prompt and the completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from prefboost.sources.columns import NAMES, Columns, find_first_column
from prefboost.sources.layouts.layout import COMPLETION_LIKE
from prefboost.sources.messages.conversations import ROLE_KEYS
from prefboost.sources.messages.keys import ROLE_NAMES
from prefboost.sources.readers.raw import RawBatch, WrappedReader

__all__ = ["COMPLETION", "SplitReader", "find_conversation_column"]

COMPLETION = "completion"
"""The column that gets the answers."""


@dataclass(frozen=True)
class SplitReader(WrappedReader):
    """A reader whose conversations lose the answer to their last question, which becomes a column of its own.

    Args:
        conversation: the column, from `find_conversation_column`.
    """

    conversation: str

    def batches(self, columns: Sequence[str] | None, rows: int | None) -> Iterator[RawBatch]:
        """See `prefboost.sources.readers.raw.Reader`."""
        needed = columns
        if columns is not None and COMPLETION in columns:
            needed = [*dict.fromkeys((*(name for name in columns if name != COMPLETION), self.conversation))]
        for batch in self.reader.batches(needed, rows):
            yield replace(batch, frames=tuple(_split_answers(frame, self.conversation) for frame in batch.frames))


def find_conversation_column(sample: pl.DataFrame, columns: Columns) -> str | None:
    """Find the column of conversations that end with their answer, the usual form of fine-tuning data, with scores.

    Args:
        sample: the first records.
        columns: what the user named.

    Returns:
        None where the answers have columns of their own, or most conversations end with a question.
    """
    schema = {name: dtype for name, dtype in sample.schema.items() if name not in columns.ignore}
    named = columns.completion or columns.completions or columns.chosen or columns.rejected
    if named or any(COMPLETION_LIKE.match(name.lower()) for name in schema):
        return None
    name = columns.prompt if isinstance(columns.prompt, str) else find_first_column(schema, NAMES["prompt"])
    if name is None or _find_role_key(schema, name) is None:
        return None
    ends = _split_answers(sample, name)[COMPLETION].list.len().drop_nulls() > 0
    return name if int(ends.sum()) * 2 > ends.len() else None


def _find_role_key(schema: Mapping[str, pl.DataType], name: str) -> str | None:
    dtype: Any = schema.get(name)
    if not isinstance(dtype, pl.List) or not isinstance(dtype.inner, pl.Struct):
        return None
    fields = {item.name: item.dtype for item in dtype.inner.fields}
    return next((key for key in ROLE_KEYS if fields.get(key) == pl.String), None)


def _split_answers(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Move what follows the last question to `COMPLETION`, which is empty where no answer ends the conversation."""
    role = _find_role_key(frame.schema, name)
    if role is None or COMPLETION in frame.columns:
        return frame
    speaker = pl.element().struct.field(role).replace(ROLE_NAMES).fill_null("")
    # Calls of tools and their results belong to the answer: answers to one question may differ in them.
    turns = pl.col(name).list.eval(speaker.is_in(["assistant", "tool"]).not_().cast(pl.Int8)).list.reverse()
    answers = (
        pl.when(pl.col(name).list.eval(speaker).list.last().ne_missing("assistant"))
        .then(0)
        .when(turns.list.sum() > 0)
        .then(turns.list.arg_max())
        .otherwise(pl.col(name).list.len())
    )
    length = pl.col(name).list.len().cast(pl.Int64) - answers.cast(pl.Int64)
    return frame.with_columns(
        pl.col(name).list.slice(0, length).alias(name), pl.col(name).list.slice(length).alias(COMPLETION)
    )
