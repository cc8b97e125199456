"""`InMemory`: data frames, data sets and lists of records as a source."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from prefboost.errors import DataError
from prefboost.sources.collection import Collection
from prefboost.sources.readers.memory import MemoryReader, hash_data, holds_data, name_data
from prefboost.sources.readers.raw import Reader

__all__ = ["InMemory"]


class InMemory(Collection):
    """Data in memory: a frame of Polars or pandas, an Arrow table, a data set of `datasets`, or a list of dicts.

    `prefboost.read` makes it of such an object; it is named to choose a score, its range or a split as well. A recipe
    cannot hold it.

    Raises:
        DataError: the object is none of these.
    """

    kind: Literal["in_memory"] = Field("in_memory", description="Data in memory.")
    path: str = Field("", description="Name of the data in messages; default: their type.")
    data: Any = Field(..., exclude=True, repr=False, description="The frame, data set or list.")

    @model_validator(mode="before")
    @classmethod
    def _name_data(cls, values: Any) -> Any:
        data = values.get("data")
        if not holds_data(data):
            raise DataError(
                f"cannot read a {type(data).__module__}.{type(data).__name__}",
                remedy="give a path, a data set of `datasets`, a frame of pandas or Polars, an Arrow table, or a list "
                "of dicts",
            )
        return {"path": name_data(data), **values}

    def open_reader(self) -> Reader:
        """Open the data."""
        return MemoryReader(self.data, self.split)

    def hash_content(self) -> str:
        """Hash the records, so that an output knows whether it was made of the same ones."""
        return hash_data(self.data)
