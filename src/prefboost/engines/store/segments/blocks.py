"""Segments as bytes: blocks of rows, each with its checksum and its place among the rows of the segment.

A block is a head of 40 bytes and a payload, which is JSON lines under zstd. The head has a checksum of its own, so that
a damaged payload is stepped over and its rows are counted, and a damaged head is found again by the next one, which
says how many rows come before it. A segment that is whole ends in a closing block with facts about it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import zstandard

__all__ = ["Event", "Reading", "encode_block", "encode_end", "encode_segment", "pick_first", "read_blocks"]

_HEAD = struct.Struct("<4sIIQ16s")
"""Magic, bytes of the payload, rows in it, rows before it, digest of the payload; a checksum of these follows."""

_SIZE = _HEAD.size + 4
_ROWS, _END = b"PBSr", b"PBSe"
_LEVEL = 1
_ROWS_OF_A_BLOCK = 1000


class Event(NamedTuple):
    """An answer or a failure that a writer kept of a row.

    Args:
        key: of the row.
        stamp: nanoseconds since 1970, or one more than any that the writer had seen; no two of a writer are equal.
        by: the writer.
        kind: of question.
        asked: parts of the question, as JSON.
        answer: as JSON; None: a failure.
        reason, attempts, permanent: of a failure.
    """

    key: str
    stamp: int
    by: str
    kind: str
    asked: str
    answer: str | None
    reason: str | None = None
    attempts: int = 0
    permanent: int = 0


@dataclass
class Reading:
    """Outcome of reading a segment's bytes.

    Args:
        events: of the intact blocks.
        end: bytes up to the end of the last block that was read; a block that is still being written follows.
        rows: up to there, damaged ones included.
        lost: rows of damaged blocks.
        broken: whether a block is damaged, which may hold rows that nothing counts.
        suspect: rows of a last block whose checksum is wrong: damaged, or not yet written out; -1: nobody knows.
        facts: of the closing block; None: it is missing, since the writer is at work or was killed.
    """

    events: list[Event] = field(default_factory=list)
    end: int = 0
    rows: int = 0
    lost: int = 0
    broken: bool = False
    suspect: int | None = None
    facts: Mapping[str, Any] | None = None


def encode_block(events: Sequence[Event], before: int) -> bytes:
    """Encode rows as a block.

    Args:
        events: at least one.
        before: rows of the segment before this block.
    """
    lines = "\n".join(json.dumps(event, ensure_ascii=True) for event in events)
    return _join(_ROWS, zstandard.compress(lines.encode(), _LEVEL), len(events), before)


def encode_end(rows: int, facts: Mapping[str, Any]) -> bytes:
    """Encode the block that closes a segment of so many rows."""
    return _join(_END, zstandard.compress(json.dumps(facts).encode(), _LEVEL), 0, rows)


def encode_segment(events: Sequence[Event], facts: Mapping[str, Any]) -> bytes:
    """Encode a whole segment."""
    starts = range(0, len(events), _ROWS_OF_A_BLOCK)
    blocks = [encode_block(events[start : start + _ROWS_OF_A_BLOCK], start) for start in starts]
    return b"".join([*blocks, encode_end(len(events), facts)])


def read_blocks(data: bytes, *, start: int = 0, rows: int = 0) -> Reading:
    """Read the blocks of a segment from a place on.

    Args:
        data: bytes of the segment from ``start`` on.
        start: place of the first of them, where a block begins.
        rows: of the segment before that place.
    """
    reading, at = Reading(end=start, rows=rows), 0
    while len(data) - at >= _SIZE:
        head = _read_head(data, at)
        if head is None:
            # The next head that is intact says how many rows stand before it.
            following = find_next_head(data, at + 1)
            if following is None:
                reading.suspect = -1
                return reading
            reading.broken, at = True, following
            continue
        magic, size, count, before, digest = head
        # Shorter than its head says: still being written, or its writer was killed before the row was acknowledged.
        payload = data[at + _SIZE : at + _SIZE + size]
        if len(payload) < size:
            return reading
        at += _SIZE + size
        intact = hashlib.blake2b(payload, digest_size=16).digest() == digest
        # The last block may not have come through yet, so whoever knows the writer decides.
        if not intact and at == len(data):
            reading.suspect = count
            return reading
        reading.lost += before - reading.rows + (0 if intact else count)
        reading.broken |= before > reading.rows or not intact
        reading.rows, reading.end = before + count, start + at
        if intact and magic == _END:
            reading.facts = json.loads(zstandard.decompress(payload))
        elif intact:
            lines = zstandard.decompress(payload).split(b"\n")
            reading.events += [Event(*json.loads(line)) for line in lines]
    return reading


def _join(magic: bytes, payload: bytes, count: int, before: int) -> bytes:
    head = _HEAD.pack(magic, len(payload), count, before, hashlib.blake2b(payload, digest_size=16).digest())
    return head + zlib.crc32(head).to_bytes(4, "little") + payload


def _read_head(data: bytes, at: int) -> tuple[bytes, int, int, int, bytes] | None:
    head, check = data[at : at + _HEAD.size], data[at + _HEAD.size : at + _SIZE]
    if zlib.crc32(head).to_bytes(4, "little") != check or head[:4] not in (_ROWS, _END):
        return None
    magic, size, count, before, digest = _HEAD.unpack(head)
    return magic, size, count, before, digest


def find_next_head(data: bytes, at: int) -> int | None:
    """Find the next place of an intact head."""
    while (at := data.find(_ROWS[:3], at)) >= 0:
        if len(data) - at >= _SIZE and _read_head(data, at) is not None:
            return at
        at += 1
    return None


def pick_first(events: Iterable[Event]) -> list[Event]:
    """Drop answers that another one of the same key precedes; failures all stay, since their attempts add up."""
    first: dict[str, Event] = {}
    failures: set[Event] = set()
    for event in events:
        if event.answer is None:
            failures.add(event)
        elif event.key not in first or event[1:3] < first[event.key][1:3]:
            first[event.key] = event
    return sorted([*first.values(), *failures], key=lambda event: (event.stamp, event.by))
