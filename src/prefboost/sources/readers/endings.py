"""Endings of file names that tell the format of rows."""

from __future__ import annotations

from pathlib import Path

__all__ = ["ENDINGS", "get_format_ending"]

ENDINGS = (".parquet", ".pq", ".arrow", ".ipc", ".feather", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""Of every format that is read; text formats also with .gz or .zst behind it."""


def get_format_ending(path: Path) -> str:
    """Return the ending that tells the format: ``a.jsonl.gz`` -> ``.jsonl``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".zst", ".zstd")), "")
