"""The index of segments: what all of them say of every row, in a file of this process that nobody else sees."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator

from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import Stored, StoredRow
from prefboost.engines.store.segments.blocks import Event

__all__ = ["CONTENT", "SegmentIndex", "build_event"]

CONTENT = 2
"""Of ``permanent``: 0 a failure that may pass, 1 a refusal, 2 a refusal of the content itself."""

_CHUNK = 500
_TABLES = """
CREATE TABLE answers (key TEXT PRIMARY KEY, stamp INTEGER, by TEXT, kind TEXT, asked TEXT, answer TEXT);
CREATE TABLE failures (
    key TEXT, stamp INTEGER, by TEXT, kind TEXT, asked TEXT, reason TEXT, attempts INTEGER, permanent INTEGER,
    PRIMARY KEY (key, stamp, by)
);
"""
_ANSWER = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET stamp = excluded.stamp, by = excluded.by, answer = excluded.answer
WHERE (excluded.stamp, excluded.by) < (stamp, by)
"""
_FAILURE = "INSERT OR IGNORE INTO failures VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# Of the last failure: SQLite takes bare columns from the row of a single max().
_FAILED = "SELECT key, max(stamp) AS stamp, by, kind, asked, reason, sum(attempts) AS attempts, permanent FROM failures"
_ROWS = f"""
SELECT key, stamp, kind, asked, answer, NULL AS reason, 0 AS attempts, 0 AS permanent FROM answers
WHERE (:kind IS NULL OR kind = :kind)
UNION ALL
SELECT key, stamp, kind, asked, NULL, reason, attempts, permanent FROM (
    {_FAILED} WHERE key NOT IN (SELECT key FROM answers) AND (:kind IS NULL OR kind = :kind) GROUP BY key
)
ORDER BY stamp, key
"""


class SegmentIndex:
    """Rows by key, of all events that were added; their order and repetitions change nothing.

    Of several answers that of the smallest (stamp, writer) counts, so that all readers of the same segments agree.
    An answer counts before a failure; of failures the last one counts, and their attempts add up.
    """

    def __init__(self) -> None:
        # A database without a name is a file that the system removes with its process; memory holds a part of it.
        self._connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.executescript(_TABLES)

    def add(self, events: Iterable[Event]) -> int:
        """Add events; return the largest stamp among them, 0 where there is none."""
        answers: list[Event] = []
        failures: list[Event] = []
        last = 0
        for event in events:
            last = max(last, event.stamp)
            (failures if event.answer is None else answers).append(event)
        # In one transaction, since each costs as much as many rows.
        run = self._connection
        run.execute("BEGIN")
        run.executemany(_ANSWER, [event[:6] for event in answers])
        run.executemany(_FAILURE, [(*event[:5], *event[6:]) for event in failures])
        run.execute("COMMIT")
        return last

    def find(self, keys: Iterable[str]) -> dict[str, tuple[Stored, str]]:
        """Find what counts of every key that has something, and who kept it."""
        outcomes: dict[str, tuple[Stored, str]] = {}
        unique = list(dict.fromkeys(keys))
        for start in range(0, len(unique), _CHUNK):
            # SQLite takes a bounded number of values in one statement.
            chunk = unique[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            for row in self._connection.execute(f"{_FAILED} WHERE key IN ({marks}) GROUP BY key", chunk):
                outcomes[row["key"]] = _parse_failure(row), row["by"]
            for row in self._connection.execute(f"SELECT key, by, answer FROM answers WHERE key IN ({marks})", chunk):
                outcomes[row["key"]] = json.loads(row["answer"]), row["by"]
        return outcomes

    def rows(self, kind: str | None) -> Iterator[StoredRow]:
        """Return what counts of every row, oldest first; what is added later does not come."""
        rows = self._connection.execute(_ROWS, {"kind": kind}).fetchall()

        def parse() -> Iterator[StoredRow]:
            # One at a time: parsed answers take several times the room of their text.
            for row in rows:
                stored: Stored = _parse_failure(row) if row["answer"] is None else json.loads(row["answer"])
                yield StoredRow(row["key"], row["kind"], json.loads(row["asked"]), stored, row["stamp"] / 1e9)

        return parse()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()


def build_event(key: str, kind: str, parts: str, stored: Stored, mark: tuple[int, str]) -> Event:
    """Build the event of a row.

    Args:
        key, kind, parts: of its query; the parts as JSON.
        stored: answer or failure.
        mark: stamp and writer.
    """
    if not isinstance(stored, Failure):
        # ASCII, so that half a character of a cut text can be kept as an escape.
        return Event(key, *mark, kind, parts, json.dumps(stored, ensure_ascii=True))
    reason = stored.reason.encode("utf-8", "replace").decode()
    permanent = CONTENT if stored.content else int(stored.permanent)
    return Event(key, *mark, kind, parts, None, reason, stored.attempts, permanent)


def _parse_failure(row: sqlite3.Row) -> Failure:
    return Failure(row["reason"], row["attempts"], bool(row["permanent"]), row["permanent"] == CONTENT)
