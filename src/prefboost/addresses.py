"""Addresses of fsspec (``s3://``, ``gs://``, ``hf://``, ``memory://``), told from paths."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["SEGMENTS", "find_address", "format_place"]

SEGMENTS = "segments:"
"""In front of a folder: its store is one of segments, as it has to be on NFS. Alone: the usual folder, of segments."""

# Two letters at least, since Windows has drives; one slash, since a Path joins two to one.
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(.+)", re.IGNORECASE)


def find_address(path: str | Path) -> str | None:
    """Return a path as an address of fsspec, also where a `Path` has lost a slash of it; None where it is none."""
    match = _ADDRESS.fullmatch(str(path))
    if match is None or Path(path).exists():
        return None
    import fsspec  # with asyncio and all compressions behind it: a sixth of a second, for addresses only

    scheme, rest = match[1].lower(), match[2]
    if scheme not in fsspec.available_protocols():
        return None
    return f"{scheme}:///{rest}" if scheme in ("file", "local") else f"{scheme}://{rest}"


def format_place(path: str | Path) -> str:
    """Write a path or an address as its user would."""
    return find_address(path) or str(path)
