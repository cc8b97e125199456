"""Stores of shards become one: every answer is carried over once, and what was spent is added up."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefboost.atomic import write_atomically
from prefboost.devices.numbers import NUMBERS_FILE
from prefboost.engines.store.faults import store_fault
from prefboost.engines.store.interface import SEAL
from prefboost.engines.store.store import Store
from prefboost.errors import Place, RunError

__all__ = ["MERGED", "check_intact", "merge_stores", "seal"]

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


def merge_stores(target: Path, sources: Sequence[Path]) -> int:
    """Write the answers of several stores into one; an answer replaces a failure, the first of two answers stays.

    Args:
        target: the store's folder, made where it is missing. One that was merged before is merged anew.
        sources: folders of stores that nobody writes to.

    Returns:
        how many rows the store holds now.

    Raises:
        RunError: the target holds answers that were not merged from elsewhere, a source is damaged, or the disk is
            full.
    """
    if target.exists() and not (target / MERGED).exists() and any(target.iterdir()):
        raise RunError(
            "a store with other answers stands where the merged one belongs",
            remedy="name another output with -o, or move the store away",
            place=Place(str(target)),
        )
    target.mkdir(parents=True, exist_ok=True)
    write_atomically(target / MERGED, "{}\n")
    with Store(target):
        pass  # makes the tables
    try:
        connection = sqlite3.connect(target / "rows.sqlite", timeout=60.0, isolation_level=None)
        try:
            connection.execute("UPDATE spend SET requests = 0, prompt_tokens = 0, tokens = 0, dollars = 0.0")
            for source in sources:
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
    numbers = next((source / NUMBERS_FILE for source in sources if (source / NUMBERS_FILE).exists()), None)
    if numbers is not None:
        # Keys name the number type that the shards' machines computed in.
        write_atomically(target / NUMBERS_FILE, numbers.read_bytes())
    return count


def check_intact(store: Path) -> str | None:
    """Check the pages of a store's file; return what SQLite reports of a damaged one, None for a sound one."""
    try:
        connection = sqlite3.connect(f"{(store / 'rows.sqlite').absolute().as_uri()}?mode=ro", uri=True)
        try:
            report = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
        finally:
            connection.close()
    except sqlite3.Error as error:
        return str(error)
    return None if report == "ok" else report


@contextmanager
def seal(store: Path) -> Iterator[None]:
    """Let nothing be asked or computed for a store within the block: what it lacks is an error there."""
    mark = store / SEAL
    write_atomically(mark, "")
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)
