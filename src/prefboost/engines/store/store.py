"""The store: whatever was asked of an engine, under a key of all that the answer depends on, kept as it finishes.

A folder with a SQLite file in WAL mode: a killed process loses at most what it had not been given yet, and several
processes may share a store. A row is claimed before it is asked. A claim ends with its row, with its process (every
process holds a lock on a file that the system takes from the dead) and, where a process hangs, with its lease.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefboost.devices.numbers import NUMBERS_FILE, start_keeping, stop_keeping
from prefboost.engines.engine import Failure
from prefboost.engines.patience import Retry
from prefboost.engines.store.book import StoreBook
from prefboost.engines.store.faults import connect_read_only, refuse_old_answers, store_fault
from prefboost.engines.store.interface import SEAL, Claim, Stored, StoredRow, StoreQuery
from prefboost.errors import Place, RunError
from prefboost.locks import hold_lock, is_lock_held

__all__ = ["Store"]

SCHEMA = 2
"""Version of the file. Version 1 had other keys for what servers are asked, see `refuse_old_answers`."""

_APPLICATION = 0x70726266  # "prbf"
_CHUNK = 500
_CONTENT = 2
"""In the column ``permanent``: 0 a failure that may pass, 1 a refusal, 2 a refusal of the content itself."""
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
_FINISH = """
INSERT INTO rows (key, kind, asked, state, answer, reason, attempts, permanent, finished_by, finished_at)
VALUES (:key, :kind, :asked, :state, :answer, :reason, :attempts, :permanent, :by, :at)
ON CONFLICT (key) DO UPDATE SET state = :state, answer = :answer, reason = :reason, attempts = attempts + :attempts,
    permanent = :permanent, finished_by = :by, finished_at = :at, owner = NULL, lease = NULL
WHERE state != 'done'
"""


class Store:
    """Answers on disk by key, shared by processes of one machine.

    Args:
        path: a folder; made where it is missing, and continued where it exists.
        retry: which failures of earlier calls count as not asked yet.
        read_only: nothing is claimed or kept, and nothing is written into the folder, which may be read-only.
        lease_s: seconds after which a claim of a process that lives but does nothing is void.

    Raises:
        RunError: it cannot be used: no space or no right to write, a damaged file, another version, or no store.
    """

    def __init__(
        self, path: str | Path, *, retry: Retry = "failed", read_only: bool = False, lease_s: float = 3600.0
    ) -> None:
        self.path = Path(path)
        self.retry = retry
        self.read_only = read_only
        self.lease_s = lease_s
        # A random part too: the system gives numbers of processes again.
        self.owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        # One connection for all threads: SQLite serialises writers anyway, and a lock keeps transactions apart.
        self._lock = threading.RLock()
        self._renewed = 0.0
        self._life = ExitStack()

    def __enter__(self) -> Self:
        try:
            if self.read_only:
                self._connection = connect_read_only(self.path / "rows.sqlite", _TABLES)
                self._check_version()
                # The keys name the number type that the first machine chose.
                start_keeping(self.path / NUMBERS_FILE, writes=False)
                return self
            # The lock on this file is the process's sign of life: the system frees it however the process ends.
            (self.path / "owners").mkdir(parents=True, exist_ok=True)
            self._life.enter_context(hold_lock(self.path / "owners" / self.owner))
            with self.exclude_others():
                self._open()
        except (OSError, sqlite3.Error) as error:
            self._leave()
            raise store_fault(error, self.path) from error
        except RunError:
            self._leave()
            raise
        # A run that is resumed on another machine must find its rows, whose keys name the number type.
        start_keeping(self.path / NUMBERS_FILE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop_keeping(self.path / NUMBERS_FILE)
        if self.read_only:
            self._leave()
            return
        # Claims end with their owner in any case: a disk that is full by now is no reason to hide what went before.
        with suppress(RunError), self._transaction() as run:
            run("DELETE FROM rows WHERE owner = ? AND state = 'open'", (self.owner,))
            run("UPDATE rows SET owner = NULL, lease = NULL WHERE owner = ?", (self.owner,))
        self._leave()

    def _leave(self) -> None:
        """Close what is open, so that the system gives the lock back."""
        if (connection := getattr(self, "_connection", None)) is not None:
            with suppress(sqlite3.Error):
                # Closing folds the log into the file, so that a copied folder is one file.
                connection.close()
        self._life.close()
        if not self.read_only:
            with suppress(OSError):
                (self.path / "owners" / self.owner).unlink(missing_ok=True)

    @contextmanager
    def exclude_others(self) -> Iterator[None]:
        """Keep other processes out of such a block of the same store (to write a file that all would write)."""
        with ExitStack() as stack:
            try:
                stack.enter_context(hold_lock(self.path / "lock"))
            except OSError:
                # Else nobody writes here whom this could disturb.
                if not self.read_only:
                    raise
            yield

    def find_answers(self, keys: Iterable[str]) -> dict[str, Stored]:
        """Find answers, and failures that are not asked again (``retry``), of those keys that have one."""
        answers: dict[str, Stored] = {}
        with self._transaction("DEFERRED") as run:
            for row in _select(run, keys):
                if row["state"] == "done" or (row["state"] == "failed" and self._is_final(row)):
                    answers[row["key"]] = _parse_row(row)
        return answers

    def failures(self, keys: Iterable[str]) -> dict[str, Failure]:
        """Find recorded failures of those keys, whether they are asked again or not."""
        with self._transaction("DEFERRED") as run:
            rows = [row for row in _select(run, keys) if row["state"] == "failed"]
        return {row["key"]: _failure(row) for row in rows}

    def claim(self, rows: Sequence[StoreQuery], *, whole: bool = False) -> Claim:
        """Claim rows, so that no other process asks them.

        A row that failed in an earlier call is claimed anew where ``retry`` says so.

        Args:
            rows: with different keys.
            whole: claim all that have no answer, or none where another process is asking one of them.
        """
        claim = Claim()
        # Asked once per owner and claim: a test of a lock opens a file.
        alive: dict[str, bool] = {}
        with self._transaction() as run:
            stored = {row["key"]: row for row in _select(run, [query.key for query in rows])}
            for query in rows:
                row = stored.get(query.key)
                if row is None:
                    claim.granted.append(query.key)
                elif row["state"] == "done" or (
                    # A failure of a call that still runs is settled too: two calls would ask it again in turn.
                    row["state"] == "failed" and (self._is_final(row) or self._is_alive(row["finished_by"], alive))
                ):
                    claim.known[query.key] = _parse_row(row)
                elif row["owner"] not in (None, self.owner) and (
                    row["lease"] > time.time() and self._is_alive(row["owner"], alive)
                ):
                    claim.held.append(query.key)
                else:
                    claim.granted.append(query.key)
            # A batch is computed as a whole, or its rows differ in the last bits from an uninterrupted run's.
            if whole and claim.held:
                # Given back whole: two processes with parts of one batch would both wait for the other's.
                claim.held.extend(claim.granted)
                claim.granted.clear()
            if claim.granted and (self.path / SEAL).exists():
                raise RunError(
                    f"{len(claim.granted):,} answers are in no shard, so merging would have to ask for them",
                    remedy="merge where the shards were made: with the same models, versions of libraries and input",
                    place=Place(str(self.path)),
                )
            granted = set(claim.granted)
            lease = time.time() + self.lease_s
            for query in rows:
                if query.key in granted:
                    run(
                        "INSERT INTO rows (key, kind, asked, state, owner, lease) VALUES (?, ?, ?, 'open', ?, ?)"
                        " ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, lease = excluded.lease",
                        (query.key, query.kind, query.text, self.owner, lease),
                    )
        return claim

    def finish(self, rows: Sequence[tuple[StoreQuery, Stored]]) -> dict[str, Stored]:
        """Keep answers, all or none of them; the first answer of a row stays.

        Returns:
            what the store holds now, by key.
        """
        answers: dict[str, Stored] = {}
        with self._transaction() as run:
            for query, stored in rows:
                values = {"key": query.key, "kind": query.kind, "asked": query.text, **_columns(stored)}
                done = run(_FINISH, {**values, "by": self.owner, "at": time.time()})
                answers[query.key] = stored
                # Another process was faster; the first answer stays, so that every reader sees the same.
                if not done.rowcount:
                    answers.update({row["key"]: _parse_row(row) for row in _select(run, [query.key])})
            if time.time() > self._renewed + self.lease_s / 8:
                # Keeping answers shows that this process lives; an eighth of the lease leaves room for slow calls.
                self._renewed = time.time()
                run("UPDATE rows SET lease = ? WHERE owner = ?", (self._renewed + self.lease_s, self.owner))
        return answers

    def rows(self, kind: str | None = None) -> Iterator[StoredRow]:
        """Yield every row that is done or failed, or those of one kind, oldest first; others may go on writing."""
        with self._transaction("DEFERRED") as run:
            stored = run(
                "SELECT * FROM rows WHERE state != 'open' AND (:kind IS NULL OR kind = :kind)"
                " ORDER BY finished_at, key",
                {"kind": kind},
            ).fetchall()
        for row in stored:
            yield StoredRow(row["key"], row["kind"], json.loads(row["asked"]), _parse_row(row), row["finished_at"])

    def book(self) -> StoreBook:
        """Return the book of all that was spent in this store, by all processes and calls."""
        return StoreBook(self._transaction)

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            self.path / "rows.sqlite", timeout=60.0, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        run = self._connection.execute
        # Readers never wait for a writer, and a killed process leaves a log that the next one replays.
        run("PRAGMA journal_mode = WAL")
        # A power cut may lose the last transactions, never the file; FULL would sync the disk for every answer.
        run("PRAGMA synchronous = NORMAL")
        self._check_version()
        self._connection.executescript(_TABLES)
        run(f"PRAGMA application_id = {_APPLICATION}")
        run(f"PRAGMA user_version = {SCHEMA}")

    def _check_version(self) -> None:
        """Refuse files of others, of newer versions, and answers that version 1 may have mixed up."""
        run = self._connection.execute
        marks = run("PRAGMA application_id").fetchone()[0], run("PRAGMA user_version").fetchone()[0]
        if marks not in ((0, 0), (_APPLICATION, 1), (_APPLICATION, SCHEMA)):
            raise sqlite3.DatabaseError(f"another version wrote it ({marks[1]}; this one writes {SCHEMA})")
        if marks == (_APPLICATION, 1):
            refuse_old_answers(self._connection, self.path)

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[Callable[..., sqlite3.Cursor]]:
        with self._lock:
            try:
                self._connection.execute(f"BEGIN {mode}")
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._roll_back()
                raise store_fault(error, self.path) from error
            except BaseException:
                self._roll_back()
                raise

    def _roll_back(self) -> None:
        """End a transaction that failed; SQLite has ended it itself where the disk is full."""
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def _is_final(self, row: sqlite3.Row) -> bool:
        """Tell whether a failure of an earlier call stays as it is."""
        return self.retry == "none" or (self.retry == "failed" and row["permanent"] == _CONTENT)

    def _is_alive(self, owner: str, alive: dict[str, bool]) -> bool:
        if owner not in alive:
            alive[owner] = owner == self.owner or is_lock_held(self.path / "owners" / owner)
        return alive[owner]


def _select(run: Callable[..., sqlite3.Cursor], keys: Iterable[str]) -> Iterator[sqlite3.Row]:
    key_list = list(keys)
    for start in range(0, len(key_list), _CHUNK):
        # SQLite takes a bounded number of values in one statement (999 in old builds).
        chunk = key_list[start : start + _CHUNK]
        yield from run(f"SELECT * FROM rows WHERE key IN ({', '.join('?' * len(chunk))})", chunk)


def _parse_row(row: sqlite3.Row) -> Stored:
    if row["state"] == "failed":
        return _failure(row)
    answer: dict[str, Any] = json.loads(row["answer"])
    return answer


def _failure(row: sqlite3.Row) -> Failure:
    return Failure(row["reason"], row["attempts"], bool(row["permanent"]), row["permanent"] == _CONTENT)


def _columns(stored: Stored) -> dict[str, Any]:
    if isinstance(stored, Failure):
        reason = stored.reason.encode("utf-8", "replace").decode()
        permanent = _CONTENT if stored.content else int(stored.permanent)
        failed = {"reason": reason, "attempts": stored.attempts, "permanent": permanent}
        return {"state": "failed", "answer": None, **failed}
    # ASCII, so that half a character of a cut text can be kept as an escape.
    answer = json.dumps(stored, ensure_ascii=True)
    return {"state": "done", "answer": answer, "reason": None, "attempts": 0, "permanent": None}
