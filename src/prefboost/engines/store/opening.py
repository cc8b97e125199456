"""Open the store that a path or an address names: a SQLite file for one machine, or segments for any number."""

from __future__ import annotations

from pathlib import Path

from prefboost.addresses import SEGMENTS, find_address
from prefboost.engines.patience import Retry
from prefboost.engines.store.faults import segment_fault
from prefboost.engines.store.interface import AnswerStore
from prefboost.engines.store.segments.store import MARK, SegmentStore
from prefboost.engines.store.store import Store
from prefboost.shelf import open_shelf

__all__ = ["find_segments", "has_store", "open_store"]


def open_store(place: str | Path, *, retry: Retry = "failed", read_only: bool = False) -> AnswerStore:
    """Return the store at a place, to be entered.

    Args:
        place: a folder; ``segments:FOLDER``; or an address of fsspec (``s3://``, ``memory://``, ...), where segments
            lie. A folder that holds segments is known by them.
        retry: which failures of earlier calls count as not asked yet.
        read_only: nothing is claimed, kept or written.
    """
    segments = find_segments(place)
    if segments is None:
        return Store(place, retry=retry, read_only=read_only)
    return SegmentStore(segments, retry=retry, read_only=read_only)


def find_segments(place: str | Path) -> str | Path | None:
    """Return the folder or address of a store of segments; None where the place is that of a SQLite file."""
    text = str(place)
    if text.startswith(SEGMENTS):
        return text.removeprefix(SEGMENTS)
    return find_address(place) or (place if (Path(place) / MARK).exists() else None)


def has_store(place: str | Path) -> bool:
    """Tell whether a store has been made at a place.

    Raises:
        RunError: its file system cannot be asked.
    """
    segments = find_segments(place)
    if segments is None:
        return Path(place).exists()
    try:
        return open_shelf(segments).exists(MARK)
    except Exception as error:  # every file system raises its own kinds
        raise segment_fault(error, str(segments)) from error
