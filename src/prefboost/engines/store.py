"""The store: whatever was asked of an engine, under a key of all that the answer depends on, kept as it finishes.

A folder with a SQLite file in WAL mode: a killed process loses at most what it had not been given yet, and several
processes may share a store. A row is claimed before it is asked. A claim ends with its row, with its process (every
process holds a lock on a file that the system takes from the dead) and, where a process hangs, with its lease.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from prefboost.engines.budget import Budget, Spend
from prefboost.engines.engine import Failure
from prefboost.errors import Place, RunError

__all__ = ["Asked", "Claim", "Row", "Store", "StoreBook"]

SCHEMA = 1
"""Version of keys and tables; rows of another version are not found again."""

_APPLICATION = 0x70726266  # "prbf"
_CHUNK = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS rows (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, asked TEXT NOT NULL,
    state TEXT NOT NULL, answer TEXT, reason TEXT, attempts INTEGER NOT NULL DEFAULT 0, permanent INTEGER,
    finished_by TEXT, finished_at REAL, owner TEXT, lease REAL
);
CREATE INDEX IF NOT EXISTS claims ON rows (owner) WHERE owner IS NOT NULL;
CREATE TABLE IF NOT EXISTS spend (
    id INTEGER PRIMARY KEY CHECK (id = 1), requests INTEGER, prompt_tokens INTEGER, tokens INTEGER, dollars REAL
);
INSERT OR IGNORE INTO spend VALUES (1, 0, 0, 0, 0.0);
"""
_ADD = """
UPDATE spend SET requests = requests + :r, prompt_tokens = prompt_tokens + :p, tokens = tokens + :t,
    dollars = dollars + :d
WHERE (:mr IS NULL OR requests + :r <= :mr) AND (:mt IS NULL OR prompt_tokens + tokens + :p + :t <= :mt)
    AND (:md IS NULL OR dollars + :d <= :md)
"""
_FINISH = """
INSERT INTO rows (key, kind, asked, state, answer, reason, attempts, permanent, finished_by, finished_at)
VALUES (:key, :kind, :asked, :state, :answer, :reason, :attempts, :permanent, :by, :at)
ON CONFLICT (key) DO UPDATE SET state = :state, answer = :answer, reason = :reason, attempts = attempts + :attempts,
    permanent = :permanent, finished_by = :by, finished_at = :at, owner = NULL, lease = NULL
WHERE state != 'done'
"""

Answer = Mapping[str, Any]
Stored = Answer | Failure


@dataclass(frozen=True)
class Asked:
    """What is asked of an engine.

    Args:
        kind: which question, e.g. ``generate``.
        parts: all that the answer depends on; plain values.
    """

    kind: str
    parts: Mapping[str, Any]

    @cached_property
    def text(self) -> str:
        """The parts as JSON."""
        return json.dumps(self.parts, sort_keys=True, ensure_ascii=True)

    @cached_property
    def key(self) -> str:
        """32 hex digits of a hash of kind, parts and the store's version."""
        return hashlib.sha256(f"{SCHEMA}\0{self.kind}\0{self.text}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Claim:
    """What came of claiming rows: now ours, answered already, or being asked by another process."""

    granted: list[str] = field(default_factory=list)
    known: dict[str, Stored] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """A row as it is exported."""

    key: str
    kind: str
    asked: Answer
    stored: Stored
    finished_at: float


class Store:
    """Answers on disk by key, shared by processes of one machine.

    Args:
        path: a folder; made where it is missing, and continued where it exists.
        lease_s: seconds after which a claim of a process that lives but does nothing is void.

    Raises:
        RunError: it cannot be written, or is no store.
    """

    def __init__(self, path: str | Path, *, lease_s: float = 3600.0) -> None:
        self.path = Path(path)
        self.lease_s = lease_s
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock = threading.RLock()
        self._renewed = 0.0

    def __enter__(self) -> Self:
        try:
            (self.path / "owners").mkdir(parents=True, exist_ok=True)
            self._life = (self.path / "owners" / self.owner).open("w")
            fcntl.flock(self._life, fcntl.LOCK_EX)
            with self.alone():
                self._open()
        except (OSError, sqlite3.Error) as error:
            raise RunError(
                f"the store cannot be used: {error}",
                remedy="choose a folder that you may write to; delete a broken store to begin anew",
                place=Place(str(self.path)),
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._transaction() as run:
            run("DELETE FROM rows WHERE owner = ? AND state = 'open'", (self.owner,))
            run("UPDATE rows SET owner = NULL, lease = NULL WHERE owner = ?", (self.owner,))
        self._connection.close()
        (self.path / "owners" / self.owner).unlink(missing_ok=True)
        self._life.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process is in such a block of the same store (to write a file that all would write)."""
        with (self.path / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def known(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Answers, and failures that it is useless to try again, of those keys that have one."""
        found: dict[str, Stored] = {}
        with self._transaction("DEFERRED") as run:
            for row in _selected(run, keys):
                if row["state"] == "done" or (row["state"] == "failed" and row["permanent"]):
                    found[row["key"]] = _stored(row)
        return found

    def claim(self, rows: Sequence[Asked], *, whole: bool = False) -> Claim:
        """Claim rows, so that no other process asks them.

        A row that failed in an earlier call, and not for good, is claimed anew.

        Args:
            rows: with different keys.
            whole: claim all that have no answer, or none where another process is asking one of them.
        """
        claim = Claim()
        alive: dict[str, bool] = {}
        with self._transaction() as run:
            found = {row["key"]: row for row in _selected(run, [asked.key for asked in rows])}
            for asked in rows:
                row = found.get(asked.key)
                if row is not None and self._settled(row, alive):
                    claim.known[asked.key] = _stored(row)
                elif row is not None and self._held(row, alive):
                    claim.held.append(asked.key)
                else:
                    claim.granted.append(asked.key)
            if whole and claim.held:
                claim.held.extend(claim.granted)
                claim.granted.clear()
            wanted = set(claim.granted)
            lease = time.time() + self.lease_s
            for asked in rows:
                if asked.key in wanted:
                    run(
                        "INSERT INTO rows (key, kind, asked, state, owner, lease) VALUES (?, ?, ?, 'open', ?, ?)"
                        " ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, lease = excluded.lease",
                        (asked.key, asked.kind, asked.text, self.owner, lease),
                    )
        return claim

    def finish(self, rows: Sequence[tuple[Asked, Stored]]) -> dict[str, Stored]:
        """Keep answers, all or none of them; the first answer of a row stays.

        Returns:
            what the store holds now, by key.
        """
        kept: dict[str, Stored] = {}
        with self._transaction() as run:
            for asked, stored in rows:
                values = {"key": asked.key, "kind": asked.kind, "asked": asked.text, **_columns(stored)}
                done = run(_FINISH, {**values, "by": self.owner, "at": time.time()})
                kept[asked.key] = stored
                if not done.rowcount:
                    kept.update({row["key"]: _stored(row) for row in _selected(run, [asked.key])})
            if time.time() > self._renewed + self.lease_s / 8:
                self._renewed = time.time()
                run("UPDATE rows SET lease = ? WHERE owner = ?", (self._renewed + self.lease_s, self.owner))
        return kept

    def release(self, keys: Sequence[str]) -> None:
        """Give claims back that came to nothing."""
        with self._transaction() as run:
            for key in keys:
                run("DELETE FROM rows WHERE key = ? AND owner = ? AND state = 'open'", (key, self.owner))
                run("UPDATE rows SET owner = NULL, lease = NULL WHERE key = ? AND owner = ?", (key, self.owner))

    def rows(self) -> Iterator[Row]:
        """Every row that is done or failed, oldest first; other processes may go on writing."""
        with self._lock:
            cursor = self._connection.execute(
                "SELECT * FROM rows WHERE state != 'open' ORDER BY finished_at, key",
            )
            found = cursor.fetchall()
        for row in found:
            yield Row(row["key"], row["kind"], json.loads(row["asked"]), _stored(row), row["finished_at"])

    def book(self) -> StoreBook:
        """The total spent in this store, by all processes and calls."""
        return StoreBook(self._transaction)

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            self.path / "rows.sqlite", timeout=60.0, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        run = self._connection.execute
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        marks = run("PRAGMA application_id").fetchone()[0], run("PRAGMA user_version").fetchone()[0]
        if marks not in ((0, 0), (_APPLICATION, SCHEMA)):
            raise sqlite3.DatabaseError(f"it was written by another version ({marks[1]}; this one writes {SCHEMA})")
        self._connection.executescript(_TABLES)
        run(f"PRAGMA application_id = {_APPLICATION}")
        run(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock:
            self._connection.execute(f"BEGIN {mode}")
            try:
                yield self._connection.execute
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _settled(self, row: sqlite3.Row, alive: dict[str, bool]) -> bool:
        """Whether a row needs no more asking: answered, refused, or failed in a call that goes on."""
        if row["state"] != "failed":
            return bool(row["state"] == "done")
        return bool(row["permanent"]) or self._lives(row["finished_by"], alive)

    def _held(self, row: sqlite3.Row, alive: dict[str, bool]) -> bool:
        another = row["owner"] is not None and row["owner"] != self.owner
        return another and row["lease"] > time.time() and self._lives(row["owner"], alive)

    def _lives(self, owner: str, alive: dict[str, bool]) -> bool:
        if owner not in alive:
            alive[owner] = owner == self.owner or _is_locked(self.path / "owners" / owner)
        return alive[owner]


class StoreBook:
    """See `prefboost.engines.budget.Book`: kept in a store, exact over processes."""

    def __init__(self, transaction: Callable[[], Any]) -> None:
        self._transaction = transaction

    def add(self, amount: Spend, budget: Budget) -> bool:
        """Add an amount if the total stays within the budget."""
        values = {
            "r": amount.requests, "p": amount.prompt_tokens, "t": amount.tokens, "d": amount.dollars,
            "mr": budget.requests, "mt": budget.tokens, "md": budget.dollars,
        }  # fmt: skip
        with self._transaction() as run:
            return bool(run(_ADD, values).rowcount)

    def total(self) -> Spend:
        """All that was spent."""
        with self._transaction() as run:
            return Spend(*run("SELECT requests, prompt_tokens, tokens, dollars FROM spend").fetchone())


def _selected(run: Callable[..., sqlite3.Cursor], keys: Iterable[str]) -> Iterator[sqlite3.Row]:
    wanted = list(keys)
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        yield from run(f"SELECT * FROM rows WHERE key IN ({', '.join('?' * len(chunk))})", chunk)


def _stored(row: sqlite3.Row) -> Stored:
    if row["state"] == "failed":
        return Failure(row["reason"], row["attempts"], bool(row["permanent"]))
    found: Answer = json.loads(row["answer"])
    return found


def _columns(stored: Stored) -> dict[str, Any]:
    if isinstance(stored, Failure):
        reason = stored.reason.encode("utf-8", "replace").decode()
        failed = {"reason": reason, "attempts": stored.attempts, "permanent": int(stored.permanent)}
        return {"state": "failed", "answer": None, **failed}
    answer = json.dumps(stored, ensure_ascii=True)
    return {"state": "done", "answer": answer, "reason": None, "attempts": 0, "permanent": None}


def _is_locked(path: Path) -> bool:
    """Whether a living process holds the lock; the file of a dead one is removed."""
    try:
        stream: IO[str] = path.open("r")
    except FileNotFoundError:
        return False
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        path.unlink(missing_ok=True)
    return False
