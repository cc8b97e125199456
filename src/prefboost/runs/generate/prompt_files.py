"""Prompts from any file: tables that `prefboost.sources.read` understands, and text with a prompt a line."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import polars as pl

from prefboost.addresses import find_address, format_place
from prefboost.errors import DataError, Place, UnknownShape, UnreadableFile
from prefboost.preferences.select import prompt_text
from prefboost.sources import read
from prefboost.sources.readers.encodings import detect_encoding
from prefboost.sources.readers.remote import fetch_file
from prefboost.sources.stored import read_stored
from prefboost.tables import MESSAGES, PROMPTS, REJECTS, Step, Table, conform

__all__ = ["read_benchmark_prompts", "read_prompts", "read_stored_prompts"]


def read_prompts(path: str | Path) -> Table:
    """Read prompts.

    Args:
        path: ``.txt`` with one prompt per line (empty lines are skipped), or any file for ``read``; of tables with
            completions or pairs the prompts are taken.

    Raises:
        UnreadableFile: a text file is missing, or none of its lines is UTF-8 text; single such lines are rejects.
        DataError: there is no prompt in it.
    """
    return _read_text(path) if Path(path).suffix == ".txt" else read(path)


def read_stored_prompts(path: str | Path) -> Table:
    """Read prompts as `read_prompts` does; rows of a table that is longer than a batch wait on disk."""
    return _read_text(path) if Path(path).suffix == ".txt" else read_stored(path)


def read_benchmark_prompts(path: str | Path) -> list[str]:
    """Read the texts of a benchmark's prompts.

    Args:
        path: as in `read_prompts`; or a data file of any shape, whose columns with questions are taken.

    Raises:
        UnreadableFile, DataError: as `read_prompts`; or no column holds questions.
    """
    try:
        texts = read_prompts(path).frame.select(text=prompt_text())["text"]
    except UnknownShape:
        from prefboost.diagnosis.benchmark_texts import read_question_texts  # loads all that inspection needs

        return list(dict.fromkeys(read_question_texts(path)))
    return texts.unique(maintain_order=True).to_list()


def _read_text(prompts: str | Path) -> Table:
    """Read a prompt per line; faults, rejects and the history name an address, not the copy of it that is read."""
    address, path = find_address(prompts), format_place(prompts)
    file = Path(prompts) if address is None else fetch_file(address)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise UnreadableFile(
            f"the prompts cannot be read: {error.strerror}",
            remedy="give a text file in UTF-8 with one prompt per line",
            place=Place(path),
        ) from error
    encoding = detect_encoding(text[:4])
    if encoding is not None:
        raise UnreadableFile(
            f"no line of the file can be used: the text is {encoding.upper()}, and not UTF-8",
            remedy=f"convert the file: iconv -f {encoding.upper()} -t UTF-8 FILE > FILE.utf8.txt",
            place=Place(path),
        )
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    filled = [(row, line.strip()) for row, line in enumerate(lines) if line.strip()]
    if not filled:
        raise DataError("the file holds no prompt", remedy="write one prompt per line", place=Place(path))
    faults = {row: fault for row, line in filled if (fault := _find_fault(line))}
    if len(faults) == len(filled):
        row, fault = next(iter(faults.items()))
        raise UnreadableFile(
            f"no line of the file can be used; the first {fault}",
            remedy="give a text file in UTF-8 with one prompt per line",
            place=Place(path, line=row + 1),
        )
    texts = [(row, line.decode().strip()) for row, line in filled if row not in faults]
    frame = pl.DataFrame(
        {
            "row": pl.Series([row for row, _ in texts], dtype=pl.Int64),
            "prompt_id": [hashlib.sha256(text.encode()).hexdigest()[:16] for _, text in texts],
            "prompt": pl.Series(
                [[{"role": "user", "content": text, "extra": None}] for _, text in texts], dtype=MESSAGES
            ),
        }
    )
    aside = [
        {
            "stage": "read", "path": path, "row": row, "id": None, "reason": f"the line {faults[row]}",
            "found": line[:200].decode(errors="backslashreplace").replace("\0", "\\0"),
        }
        for row, line in filled if row in faults
    ]  # fmt: skip
    rejects = pl.DataFrame(aside, REJECTS)
    rejected = dict(Counter(rejects["reason"].to_list()))
    step = Step("read", {"path": path}, rows_in=len(filled), rows_out=len(texts), rejected=rejected)
    return Table(PROMPTS, conform(frame, PROMPTS, path=path), rejects, steps=(step,), path=path)


def _find_fault(line: bytes) -> str | None:
    """Describe what is wrong with a line; None where nothing is."""
    if b"\0" in line:
        return "holds a NUL byte"
    try:
        return None if line.decode().strip() else "is blank"
    except UnicodeDecodeError:
        return "is not UTF-8"
