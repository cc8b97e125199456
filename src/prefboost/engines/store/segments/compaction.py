"""Few large segments in the place of many small ones, whatever kills whoever makes them, and whenever.

The larger segment is written, read back, and names those that it replaces. These are removed a while later, when nobody
reads by a listing any more that is older than it. Whoever is killed in between leaves rows twice, which readers of
segments do not mind, and the next one goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from prefboost.engines.store.segments.blocks import Event, encode_segment, pick_first, read_blocks
from prefboost.engines.store.segments.reader import ROWS, SegmentReader, level_of

__all__ = ["compact", "remove_replaced"]

FAN = 32
"""Segments of one level that become one of the next."""

DAMAGED = "damaged"
"""Folder of segments that could not be read whole; nothing removes them."""

_LARGE = 64 << 20
_MOST_BYTES = 256 << 20
"""Bytes of segments that are put together at once: their rows are in memory meanwhile."""


def compact(reader: SegmentReader, is_ours: Callable[[str], bool], name_next: Callable[[int], str]) -> int:
    """Put small segments together; return how many were.

    Args:
        reader: of the store, whose index is fresh.
        is_ours: whether a segment may be taken: nobody writes to it any more.
        name_next: level -> name of a new segment.

    Raises:
        OSError: a segment cannot be read or written.
    """
    # Large ones stay as they are: writing them again would cost more than fewer files save.
    sizes = reader.shelf.list_files(ROWS)
    names = [
        name
        for name, size in sizes.items()
        if size < _LARGE and name not in reader.replaced and name not in reader.damage and is_ours(name)
    ]
    count = 0
    for level, group in groupby(sorted(names, key=lambda name: (level_of(name), name)), level_of):
        segments = list(group)
        while len(segments) >= FAN:
            taken: dict[str, int] = {}
            events: list[Event] = []
            while segments and sum(taken.values()) < _MOST_BYTES:
                name = segments.pop(0)
                data = reader.shelf.read(f"{ROWS}/{name}")
                reading = read_blocks(data)
                # What is damaged stays as it is, until a reader finds it and says so.
                if not reading.broken and reading.suspect is None:
                    taken[name] = len(data)
                    events += reading.events
            if taken:
                _replace(reader, pick_first(events), taken, name_next(level + 1))
            count += len(taken)
    return count


def _replace(reader: SegmentReader, events: list[Event], taken: dict[str, int], name: str) -> None:
    segment = encode_segment(events, {"replaces": taken})
    reader.shelf.write(f"{ROWS}/{name}", segment)
    # What this replaces is removed on the strength of it.
    written = reader.read_events(name)
    if written.broken or written.facts is None or written.rows != len(events):
        reader.shelf.remove(f"{ROWS}/{name}")
        raise OSError(f"{reader.shelf.address}/{ROWS}/{name} does not read as it was written")
    reader.adopt(name, len(segment), len(events), taken)


def remove_replaced(reader: SegmentReader, grace_s: float) -> int:
    """Remove segments that were replaced a while ago, keep damaged ones aside; return how many.

    Raises:
        OSError: one cannot be removed.
    """
    sizes, count = reader.shelf.list_files(ROWS), 0
    for name, replaced in list(reader.replaced.items()):
        # One that has grown since belongs to a process that was taken for dead and was not.
        if reader.clock() < replaced.seen_at + grace_s or sizes.get(name) != replaced.size:
            continue
        if replaced.is_damaged:
            reader.shelf.write(f"{DAMAGED}/{name}", reader.shelf.read(f"{ROWS}/{name}"))
        reader.shelf.remove(f"{ROWS}/{name}")
        count += 1
    return count
