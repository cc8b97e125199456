"""Differences of shells and terminals: paths with ``~``, ``-`` for a stream, encodings that lack characters."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any

from prefboost.errors import SettingsError

__all__ = ["STREAMING", "escape_unprintable", "expand_paths", "open_output", "print_error"]

STREAMING = ("augment_command", "select_command")
"""Verbs that write one table, which may go to standard output as JSON lines: ``-o -``."""


def escape_unprintable() -> None:
    """Let output streams of an encoding without all characters (cp1252, ASCII) write the missing ones as escapes.

    The escapes are those of JSON, so that a document that is printed with ``--json`` stays one.
    """

    def escape_as_json(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        text = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
        units = [int.from_bytes(text[at : at + 2], "big") for at in range(0, len(text), 2)]
        return "".join(f"\\u{unit:04x}" for unit in units), error.end

    codecs.register_error("json_escapes", escape_as_json)
    for stream in (sys.stdout, sys.stderr):
        encoding = str(getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").replace("_", "")
        if encoding not in ("utf8", "utf8sig") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="json_escapes")


def expand_paths(options: Mapping[str, Any], *, streams: bool = False) -> dict[str, Any]:
    """Expand ``~`` in paths, as shells do not after ``--out=`` or in quotes.

    Args:
        options: of a verb, by name.
        streams: whether the verb is one of `STREAMING`.

    Raises:
        SettingsError: an output is ``-``, and the verb does not write one table.
    """
    if str(options.get("out")) == "-" and not streams:
        raise SettingsError(
            "rows cannot be written to standard output: this verb keeps its progress beside its rows, to resume there",
            remedy="name a file or folder: -o FILE (-o ./- for a file of that name)",
        )
    expanded = dict(options)
    for name, value in options.items():
        # A file may be called ~somebody, who does not exist.
        if isinstance(value, Path):
            with suppress(RuntimeError):
                expanded[name] = value.expanduser()
    return expanded


@contextmanager
def open_output(out: Path) -> Iterator[Path]:
    """Yield the file to write: ``out``, or for ``-`` one whose lines go to standard output at the end.

    What is printed within the block then goes to stderr, so that the lines alone are on standard output. The card, the
    manifest and the rejects are deleted.
    """
    if str(out) != "-":
        yield out
        return
    import tempfile  # draws random names: start-up without it is faster by some milliseconds

    with tempfile.TemporaryDirectory(prefix="prefboost-") as folder:
        waiting = Path(folder) / "rows.jsonl"
        with redirect_stdout(sys.stderr):
            yield waiting
        # Rows are printed when all are written, so that a failed run gives a reader none instead of half of them.
        # Bytes are copied past the text layer, whose encoding need not be UTF-8.
        with waiting.open("rb") as rows:
            shutil.copyfileobj(rows, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def print_error(message: str) -> None:
    """Print a message on stderr, without secrets."""
    from prefboost.settings.secrets import without_secrets

    print(without_secrets(message, os.environ), file=sys.stderr)
