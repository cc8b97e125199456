"""Names of files that tell what they hold: endings of formats, and the name of data cards."""

from __future__ import annotations

from pathlib import Path

__all__ = ["CARD", "ENDINGS", "get_format_ending"]

CARD = "README.md"
"""A folder's data card, which may say which files are of which split."""

ENDINGS = (".parquet", ".pq", ".arrow", ".ipc", ".feather", ".jsonl", ".ndjson", ".json", ".csv", ".tsv")
"""Of every format that is read; text formats also with .gz or .zst behind it."""


def get_format_ending(path: Path) -> str:
    """Return the ending that tells the format: ``a.jsonl.gz`` -> ``.jsonl``."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix not in (".gz", ".zst", ".zstd")), "")
