"""Stores of shards become one: every answer is carried over once, and what was spent is added up."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefboost.atomic import write_atomically
from prefboost.devices.numbers import NUMBERS_FILE
from prefboost.engines.store.faults import segment_fault, store_fault
from prefboost.engines.store.interface import SEAL
from prefboost.engines.store.opening import find_segments, has_store, open_store
from prefboost.engines.store.segments.store import SegmentStore, find_damage
from prefboost.engines.store.store import Store
from prefboost.errors import Place, RunError
from prefboost.shelf import Shelf, open_shelf

__all__ = ["MERGED", "check_intact", "merge_stores", "read_numbers", "forbid_computation"]

MERGED = "merged.json"
"""File in a store's folder that says it was merged, so that it may be merged again."""

_CARRY_OVER = """
INSERT INTO main.rows (key, kind, asked, state, answer, reason, attempts, permanent, finished_by, finished_at)
SELECT key, kind, asked, state, answer, reason, attempts, permanent, finished_by, finished_at
FROM shard.rows WHERE state != 'open'
ON CONFLICT (key) DO UPDATE SET state = 'done', answer = excluded.answer, reason = NULL, permanent = NULL,
    attempts = excluded.attempts, finished_by = excluded.finished_by, finished_at = excluded.finished_at
WHERE main.rows.state = 'failed' AND excluded.state = 'done'
"""
_ADD_SPENT = """
UPDATE main.spend SET
    requests = requests + (SELECT requests FROM shard.spend),
    prompt_tokens = prompt_tokens + (SELECT prompt_tokens FROM shard.spend),
    tokens = tokens + (SELECT tokens FROM shard.spend),
    dollars = dollars + (SELECT dollars FROM shard.spend)
"""


def merge_stores(target: str | Path, sources: Sequence[str | Path]) -> int:
    """Write the answers of several stores into one; an answer replaces a failure, the first of two answers stays.

    Args:
        target: the store's place, made where it is missing. One that was merged before is merged anew.
        sources: places of stores that nobody writes to. Where one is of segments, all must be able to hold segments,
            and so is the target.

    Returns:
        how many rows the store holds now.

    Raises:
        RunError: the target holds answers that were not merged from elsewhere, a source is damaged, or the disk is
            full.
    """
    segments = find_segments(target)
    if segments is None and any(find_segments(source) is not None for source in sources):
        segments = target
    if segments is not None:
        return _merge_segments(segments, sources)
    target = Path(target)
    if target.exists() and not (target / MERGED).exists() and any(target.iterdir()):
        raise _refuse_answers(str(target))
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / MERGED, "{}\n")
    with Store(target):
        pass  # makes the tables
    try:
        connection = sqlite3.connect(target / "rows.sqlite", timeout=60.0, isolation_level=None)
        try:
            connection.execute("UPDATE spend SET requests = 0, prompt_tokens = 0, tokens = 0, dollars = 0.0")
            for source in map(Path, sources):
                connection.execute("ATTACH DATABASE ? AS shard", (str(source / "rows.sqlite"),))
                # One transaction per shard: rows and costs of it come together or not at all.
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_CARRY_OVER)
                connection.execute(_ADD_SPENT)
                connection.execute("COMMIT")
                connection.execute("DETACH DATABASE shard")
            count = int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise store_fault(error, target) from error
    numbers = next((file for source in sources if (file := Path(source) / NUMBERS_FILE).exists()), None)
    if numbers is not None:
        # Keys name the number type that the shards' machines computed in.
        write_atomically(target / NUMBERS_FILE, numbers.read_bytes())
    return count


def _merge_segments(target: str | Path, sources: Sequence[str | Path]) -> int:
    shelf = open_shelf(target)
    with _explain(shelf):
        if not shelf.exists(MERGED) and has_store(target):
            raise _refuse_answers(shelf.address)
        shelf.write(MERGED, b"{}\n")
    with SegmentStore(target) as into:
        for source in sources:
            # Under a name that stays: merged again, the same rows and costs come once.
            name = hashlib.sha256(str(source).encode()).hexdigest()[:16]
            with open_store(source, retry="none", read_only=True) as shard:
                into.import_store(shard.rows(), shard.book().total(), name)
            if (numbers := read_numbers(source)) is not None:
                # Keys name the number type that the shards' machines computed in.
                shelf.write(NUMBERS_FILE, numbers)
        return sum(1 for _ in into.rows())


def read_numbers(store: str | Path) -> bytes | None:
    """Read the file that names the number type of a store's keys; None where there is none.

    Raises:
        RunError: the store's file system cannot be asked.
    """
    shelf = open_shelf(find_segments(store) or store)
    with _explain(shelf):
        return shelf.read(NUMBERS_FILE) if shelf.exists(NUMBERS_FILE) else None


def _refuse_answers(place: str) -> RunError:
    return RunError(
        "a store with other answers stands where the merged one belongs",
        remedy="name another output with -o, or move the store away",
        place=Place(place),
    )


@contextmanager
def _explain(shelf: Shelf) -> Iterator[None]:
    try:
        yield
    except RunError:
        raise
    except Exception as error:  # every file system raises its own kinds
        raise segment_fault(error, shelf.address) from error


def check_intact(store: str | Path) -> str | None:
    """Check a store's checksums or pages; return what is wrong with a damaged one, None for a sound one."""
    if (segments := find_segments(store)) is not None:
        return find_damage(segments)
    try:
        connection = sqlite3.connect(f"{(Path(store) / 'rows.sqlite').absolute().as_uri()}?mode=ro", uri=True)
        try:
            report = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None if report == "ok" else report


@contextmanager
def forbid_computation(store: str | Path) -> Iterator[None]:
    """Let nothing be asked or computed for a store within the block: what it lacks is an error there."""
    shelf = open_shelf(find_segments(store) or store)
    with _explain(shelf):
        shelf.write(SEAL, b"")
    try:
        yield
    finally:
        with _explain(shelf):
            shelf.remove(SEAL)
