"""Parts of a record (prompt, score, ...) looked up among the columns of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from prefboost.errors import DataError, Place
from prefboost.sources.columns import NAMES, Columns, find_dtype, find_first_column, normalize_name
from prefboost.sources.readers.raw import ROW

__all__ = ["PartLookup", "list_columns"]

TRANSCRIPT = r"^\s*(Human|Assistant): "

FURTHER_PROMPTS = {"instruction": ("input", "context")}
"""Columns that continue the text of a prompt column: Alpaca's ``input`` (tatsu-lab/alpaca; LLaMA-Factory's alpaca
format joins the two by a line feed, as is done here) and Dolly's ``context`` (databricks/databricks-dolly-15k).
"""


class PartLookup:
    """Looks parts up in a schema: the user's name first, then the known names.

    Args:
        sample: the first records.
        columns: what the user named; columns to ignore are absent from the schema.
        path: for messages.
    """

    def __init__(self, sample: pl.DataFrame, columns: Columns, path: str) -> None:
        self.schema = {name: dtype for name, dtype in sample.schema.items() if name not in (ROW, *columns.ignore)}
        values: dict[str, Any] = columns.model_dump()
        prompts = values["prompt"] if isinstance(values["prompt"], tuple) else ()
        self.named: dict[str, str] = {part: value for part, value in values.items() if isinstance(value, str)}
        self.named |= {"prompt": prompts[0]} if prompts else {}
        self.further = prompts[1:]
        self.named_aspects = columns.aspects
        self.path = path
        self.sample = sample

    def __call__(self, part: str, schema: Mapping[str, pl.DataType] | None = None) -> str | None:
        """Find the column of a part in ``schema`` (default: the record's own columns)."""
        within = self.schema if schema is None else schema
        if part not in self.named:
            return find_first_column(within, NAMES.get(part, ()))
        if find_dtype(within, self.named[part]) is None:
            if schema is not None:
                return None
            raise self._describe_absent(part, self.named[part])
        return self.named[part]

    def find(self, *parts: str, **fixed: str) -> dict[str, str]:
        """Find the parts that exist, and add the ``fixed`` ones."""
        columns = {part: self(part) for part in parts}
        return {**{part: column for part, column in columns.items() if column is not None}, **fixed}

    def find_fields(self, schema: Mapping[str, pl.DataType], *parts: str) -> dict[str, str]:
        """Find the parts that the structs of completions hold; those that the user named must be there."""
        columns = {part: self(part, schema) for part in parts}
        for part, column in columns.items():
            if column is None and part in self.named:
                raise DataError(
                    f"columns.{part} names {self.named[part]!r}, which no completion has; found {list_columns(schema)}",
                    remedy=f"give a field that exists as columns.{part}",
                    place=Place(self.path, column=self.named[part]),
                )
        return {part: column for part, column in columns.items() if column is not None}

    def find_prompt(self, *parts: str, **fixed: str) -> dict[str, str]:
        """`find`, for parts of a question: a history counts only where it is a list of turns, not a text."""
        columns = self.find("prompt", "system", "tools", *parts, **fixed)
        history = self("history")
        dtype = None if history is None else find_dtype(self.schema, history)
        if history and (isinstance(dtype, pl.List | pl.Array | pl.Null) or "history" in self.named):
            columns["history"] = history
        return columns

    def find_further_prompts(self, prompt: str) -> tuple[str, ...]:
        """Find the columns whose text follows the prompt's: those that the user named, or those of a known form."""
        missing = next((name for name in self.further if find_dtype(self.schema, name) is None), None)
        if missing is not None:
            raise self._describe_absent("prompt", missing)
        if self.further or "prompt" in self.named:
            return self.further
        name = find_first_column(self.schema, FURTHER_PROMPTS.get(normalize_name(prompt), ()))
        return (name,) if name and self.schema[name] in (pl.String, pl.Null) else ()

    def list_named_parts(self) -> tuple[str, ...]:
        """List the parts that the user named."""
        return tuple(sorted(self.named))

    def find_transcripts(self, *columns: str | None) -> tuple[str, ...]:
        """Find those of the columns whose text is a transcript (Human: ... Assistant: ...)."""
        texts = {
            name: self.sample[name].drop_nulls().head(20)
            for name in columns
            if name and self.schema.get(name) == pl.String
        }
        counts = {name: (int(each.str.contains(TRANSCRIPT).sum()), len(each)) for name, each in texts.items()}
        return tuple(name for name, (count, total) in counts.items() if count * 2 > total)

    def _describe_absent(self, part: str, name: str) -> DataError:
        return DataError(
            f"columns.{part} names {name!r}, which does not exist; found {list_columns(self.schema)}",
            remedy=f"give a column that exists as columns.{part}",
            place=Place(self.path, column=name),
        )


def list_columns(schema: Mapping[str, pl.DataType]) -> str:
    """List the names of columns, cut to 400 characters, for a message."""
    names = ", ".join(schema)
    return names if len(names) <= 400 else names[:400] + "..."
