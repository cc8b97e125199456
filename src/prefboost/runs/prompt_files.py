"""Prompts from any file: tables that `prefboost.sources.read` understands, and text with a prompt a line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from prefboost.errors import DataError, Place, UnreadableFile
from prefboost.sources import read
from prefboost.tables import MESSAGES, PROMPTS, Step, Table, conform

__all__ = ["read_prompts"]


def read_prompts(path: str | Path) -> Table:
    """Read prompts.

    Args:
        path: ``.txt`` with one prompt a line (empty lines are skipped), or anything that ``read`` takes; of tables with
            completions or pairs the prompts are taken.

    Raises:
        UnreadableFile: a text file is missing or not UTF-8.
        DataError: there is no prompt in it.
    """
    file = Path(path)
    return _lines(file) if file.suffix == ".txt" else read(path)


def _lines(path: Path) -> Table:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 at byte {error.start}"
        raise UnreadableFile(
            f"the prompts cannot be read: {reason}",
            remedy="give a text file in UTF-8 with one prompt a line",
            place=Place(str(path)),
        ) from error
    texts = [(row, line.strip()) for row, line in enumerate(lines) if line.strip()]
    if not texts:
        raise DataError("the file holds no prompt", remedy="write one prompt a line", place=Place(str(path)))
    frame = pl.DataFrame(
        {
            "row": pl.Series([row for row, _ in texts], dtype=pl.Int64),
            "prompt_id": [hashlib.sha256(text.encode()).hexdigest()[:16] for _, text in texts],
            "prompt": pl.Series(
                [[{"role": "user", "content": text, "extra": None}] for _, text in texts], dtype=MESSAGES
            ),
        }
    )
    step = Step("read", {"path": str(path)}, rows_in=len(texts), rows_out=len(texts))
    return Table(PROMPTS, conform(frame, PROMPTS, path=str(path)), steps=(step,), path=str(path))
