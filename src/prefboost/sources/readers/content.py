"""The format that a file's bytes show, whatever its name says."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from prefboost.errors import Place, UnreadableFile
from prefboost.sources.readers.text_files import read_byte_chunks

__all__ = ["detect_ending", "detect_delimiter", "detect_magic_ending"]

_MAGIC = {b"PAR1": ".parquet", b"ARROW1": ".arrow", b"\xff\xff\xff\xff": ".arrow"}
"""First bytes of binary formats -> ending; the last of them begins an Arrow stream."""

_DELIMITERS = (",", "\t", ";", "|")

_HEADER_CHARS = 100_000  # below the longest cell that Python's csv takes by default


def detect_ending(path: Path) -> str | None:
    """Detect the ending that fits a file's content: ``.parquet``, ``.arrow``, ``.jsonl``, ``.csv``, ``.tsv``.

    Args:
        path: a file; gzip and zstd are looked into.

    Returns:
        None where the bytes are neither one of the binary formats, nor JSON, nor lines with a header of two cells.
    """
    magic = detect_magic_ending(path)
    if magic is not None:
        return magic
    try:
        line = _first_line(path)
    except UnreadableFile:
        return None
    if line[:1] in ("{", "["):
        return ".jsonl"
    best = max(_DELIMITERS, key=lambda mark: _count_cells(line, mark))
    if re.search(r"[\x00-\x08\x0e-\x1f\ufffd]", line) or _count_cells(line, best) < 2:
        return None
    return ".tsv" if best == "\t" else ".csv"


def detect_magic_ending(path: Path) -> str | None:
    """Detect the binary format whose files begin like this one, as its ending; None where it is none of them."""
    with path.open("rb") as file:
        begin = file.read(8)
    return next((ending for magic, ending in _MAGIC.items() if begin.startswith(magic)), None)


def detect_delimiter(path: Path, usual: str) -> str:
    """Detect what separates the cells of a file's header: the usual mark, unless only another one does.

    Spreadsheets in countries with a decimal comma write ``;`` into files that end in .csv.

    Raises:
        UnreadableFile: the header is an object of JSON.
    """
    line = _first_line(path)
    if re.match(r'\[?\s*\{\s*"', line):
        raise UnreadableFile(
            "the first line is JSON, and no header of a table", remedy="name the file .jsonl", place=Place(str(path))
        )
    best = max(_DELIMITERS, key=lambda mark: _count_cells(line, mark))
    return usual if _count_cells(line, usual) > 1 else best


def _first_line(path: Path) -> str:
    head = next(read_byte_chunks(path), b"").removeprefix(b"\xef\xbb\xbf").lstrip()
    return re.split(rb"[\r\n]", head, maxsplit=1)[0].decode("utf-8", "replace")[:_HEADER_CHARS]


def _count_cells(header: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader(io.StringIO(header), delimiter=delimiter), []))
    except csv.Error:
        return 1
