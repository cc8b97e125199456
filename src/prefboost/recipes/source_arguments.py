"""A source named on the command line: its path, and ``data.*`` overrides with its settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from prefboost.errors import SettingsError
from prefboost.recipes.documents import Document, apply_overrides
from prefboost.recipes.validate import validate
from prefboost.settings import Settings, choice
from prefboost.sources import SOURCES, Columns, Source

__all__ = ["read_columns", "read_source"]


class _Given(Settings):
    data: Annotated[Source, choice(SOURCES)] = Field(description="Source of the data.")


class _Named(Settings):
    columns: Columns = Field(Columns(), description="Columns named by the user; the others are guessed.")


def read_columns(overrides: Sequence[str]) -> Columns:
    """Read columns from ``columns.NAME=COLUMN``.

    Raises:
        SettingsError: one line for every wrong override.
    """
    odd = next((text for text in overrides if not re.match(r"columns(\.\w+)*=", text)), None)
    if odd is not None:
        raise SettingsError(
            f"override {odd!r}: neither columns.NAME=COLUMN nor data.NAME=VALUE",
            remedy="e.g. columns.score=helpfulness, data.split=test",
        )
    return validate(_Named, apply_overrides(Document({}), overrides)).columns


def read_source(path: str, overrides: Sequence[str]) -> tuple[str | Source, list[str]]:
    """Read the source at a path, and split off the overrides that are about something else.

    Args:
        path: a file, folder, glob, saved data set or hub id.
        overrides: ``key=value``; those of ``data`` are a source's settings, as below ``data:`` in a recipe:
            ``data=ultrafeedback``, ``data.score=mean``, ``data.split=train``.

    Returns:
        the path alone where no override is about it, and the other overrides.

    Raises:
        SettingsError: one line for every wrong override of ``data``.
    """
    about = [text for text in overrides if text.partition("=")[0].partition(".")[0] == "data"]
    others = [text for text in overrides if text not in about]
    if not about:
        return path, others
    document = apply_overrides(Document({}), about)
    values = document.values.get("data")
    named: Any = {"kind": values} if isinstance(values, str) else values
    if isinstance(named, dict):
        named = {"kind": "file", **named, "path": path}
    return validate(_Given, Document({"data": named}, document.origins)).data, others
