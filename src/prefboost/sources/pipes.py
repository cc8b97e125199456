"""Inputs that can be read only once: standard input, named pipes, process substitution."""

from __future__ import annotations

import re
from pathlib import Path

from prefboost.errors import Place, UnreadableFile

__all__ = ["refuse_pipe"]

_STREAM = re.compile(r"-|/dev/(stdin|fd/\d+)|/proc/(self|\d+)/fd/\d+")


def refuse_pipe(path: str) -> None:
    """Refuse an input that is no file: prefboost reads its input several times, and tells by its bytes what it was.

    Raises:
        UnreadableFile: says what to do instead.
    """
    place = Path(path)
    try:
        is_stream = place.exists() and not (place.is_file() or place.is_dir())
    except OSError:
        return  # no file can have this name; whoever opens it says so
    if is_stream or (_STREAM.fullmatch(path) and not (path == "-" and place.exists())):
        raise UnreadableFile(
            "a pipe can be read only once, and prefboost reads its input more than once",
            remedy="write it to a file first (COMMAND > in.jsonl), whose ending tells its format, and give that",
            place=Place(path),
        )
