"""What a source's columns were taken for, as people read it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["shown_columns"]


def shown_columns(columns: object) -> str:
    """The column or columns of a part; aspects as ``aspect=column`` where the two are named differently."""
    if isinstance(columns, Mapping):
        same = all(aspect == column for aspect, column in columns.items())
        return ", ".join(columns if same else (f"{aspect}={column}" for aspect, column in columns.items()))
    return ", ".join(map(str, columns)) if isinstance(columns, list | tuple) else str(columns)
