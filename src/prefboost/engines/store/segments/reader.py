"""Reading segments into the index: what is new since the last time, and what is damaged, by name and number of rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from prefboost.engines.store.segments.blocks import Reading, encode_segment, read_blocks
from prefboost.engines.store.segments.index import SegmentIndex
from prefboost.shelf import Shelf

__all__ = ["ROWS", "ReplacedSegment", "SegmentReader", "level_of", "writer_of"]

logger = logging.getLogger(__name__)

ROWS = "rows"
"""Folder of segments: ``WRITER-NUMBER.log`` grows, ``WRITER-NUMBER-LEVEL.seg`` is whole."""

_TRIES, _WAIT_S = 120, 0.5
"""NFS can list a file for a minute that is gone."""


@dataclass(frozen=True)
class ReplacedSegment:
    """A segment whose rows stand in another one.

    Args:
        size: bytes that were taken over.
        seen_at: when this process first saw that, in seconds of its clock.
        is_damaged: whether it is kept aside, since it could not be read whole.
    """

    size: int
    seen_at: float
    is_damaged: bool


@dataclass
class SegmentReader:
    """Reader of a store's segments, which knows what it has read before.

    Args:
        shelf: of the store.
        index: that is filled.
        clock: seconds of a clock that nobody sets.
        replaced: segments that need not be read, since a larger one holds their rows.
        damage: segment -> rows of it that cannot be read; None: nobody knows how many.
    """

    shelf: Shelf
    index: SegmentIndex
    clock: Callable[[], float] = time.monotonic
    replaced: dict[str, ReplacedSegment] = field(default_factory=dict)
    damage: dict[str, int | None] = field(default_factory=dict)
    # Segment without its ending -> bytes and rows that were read of it.
    _places: dict[str, tuple[int, int]] = field(default_factory=dict)
    _finished: set[str] = field(default_factory=set)
    # Segments whose closing block was read while they had the name of one that grows.
    _closed: set[str] = field(default_factory=set)

    def refresh(self, is_alive: Callable[[str], bool]) -> int:
        """Read what is new; return the largest stamp in it.

        Args:
            is_alive: tells whether a writer may be at work on the end of its segment.

        Raises:
            OSError: a segment cannot be read.
        """
        last = 0
        for _ in range(_TRIES):
            # Anew in every round: what is gone has left something else.
            sizes = self.shelf.list_files(ROWS)
            gone = ""
            # Larger segments first, since what they replace need not be read.
            for name in sorted(sizes, key=lambda name: (-level_of(name), name)):
                replaced = self.replaced.get(name)
                if name in self._finished or (replaced is not None and replaced.size >= sizes[name]):
                    continue
                try:
                    last = max(last, self._read(name, sizes, is_alive))
                except FileNotFoundError:
                    # Replaced since it was listed: what replaces it was there before, and the next listing has it.
                    gone = name
            if not gone:
                return last
            time.sleep(_WAIT_S)
        raise OSError(f"{self.shelf.address}/{ROWS}/{gone} is listed, but is not there")

    def adopt(self, name: str, size: int, rows: int, replaces: Mapping[str, int] | None = None) -> None:
        """Take note of a segment of this process, whose rows are in the index."""
        self._places[_find_stem(name)] = size, rows
        if name.endswith(".seg"):
            self._finished.add(name)
        self._note_replaced(replaces or {}, is_damaged=False)

    def read_events(self, name: str) -> Reading:
        """Read a whole segment, whatever was read of it before."""
        return read_blocks(self.shelf.read(f"{ROWS}/{name}"))

    def rescue(self, name: str, target: str) -> None:
        """Write what can be read of a damaged segment into a sound one, which replaces it."""
        data = self.shelf.read(f"{ROWS}/{name}")
        reading = read_blocks(data)
        replaces = {name: len(data)}
        segment = encode_segment(reading.events, {"replaces": replaces, "damaged": True})
        self.shelf.write(f"{ROWS}/{target}", segment)
        self.adopt(target, len(segment), len(reading.events))
        self._note_replaced(replaces, is_damaged=True)

    def _read(self, name: str, sizes: Mapping[str, int], is_alive: Callable[[str], bool]) -> int:
        stem, whole = _find_stem(name), name.endswith(".seg")
        start, rows = self._places.get(stem, (0, 0))
        if not whole and (sizes[name] <= start or name in self.damage):
            return 0
        reading = read_blocks(self.shelf.read(f"{ROWS}/{name}", start), start=start, rows=rows)
        last = self.index.add(reading.events)
        self._places[stem] = reading.end, reading.rows
        lost: int | None = reading.lost
        if reading.facts is not None:
            self._closed.add(stem)
        # The end of a segment that grows may not have come through yet, or its writer was killed in the middle of it.
        if reading.suspect is not None and (whole or not is_alive(writer_of(name))):
            lost = None if reading.suspect < 0 else reading.lost + reading.suspect
            reading.broken = True
        if whole:
            self._finished.add(name)
            replaces: Mapping[str, int] = (reading.facts or {}).get("replaces", {})
            if stem not in self._closed or reading.end < sizes[name]:
                # Cut off: what stood behind the cut is unknown.
                lost, reading.broken = (None if reading.suspect is None else lost), True
            elif not reading.broken:
                self._note_replaced(replaces, is_damaged=bool((reading.facts or {}).get("damaged")))
            elif replaces and all(each in sizes for each in replaces):
                logger.warning(
                    "%s/%s/%s is damaged: %s; they stand in the segments that it was made of, too",
                    self.shelf.address, ROWS, name, _count_rows(lost),
                )  # fmt: skip
                self.damage[name] = 0
                return last
        if reading.broken:
            self.damage[name] = lost
            logger.warning(
                "%s/%s/%s is damaged: by its checksums %s; %s rows of it are sound. What no other segment holds "
                "counts as not asked yet",
                self.shelf.address, ROWS, name, _count_rows(lost), f"{len(reading.events):,}",
            )  # fmt: skip
        return last

    def _note_replaced(self, replaces: Mapping[str, int], *, is_damaged: bool) -> None:
        now = self.clock()
        for name, size in replaces.items():
            self.replaced.setdefault(name, ReplacedSegment(size, now, is_damaged))
            self.damage.pop(name, None)


def writer_of(name: str) -> str:
    """Return the writer of a segment."""
    return name.partition("-")[0]


def level_of(name: str) -> int:
    """Return how often the rows of a segment were put together into larger ones."""
    return int(name.removesuffix(".seg").rpartition("-")[2]) if name.endswith(".seg") else 0


def _find_stem(name: str) -> str:
    """Return writer and number, which stay when a segment that grew is closed."""
    return "-".join(name.removesuffix(".log").split("-")[:2])


def _count_rows(lost: int | None) -> str:
    return "an unknown number of rows cannot be read" if lost is None else f"{lost:,} rows cannot be read"
