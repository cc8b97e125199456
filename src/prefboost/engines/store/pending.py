"""Rows that a store has no answer to yet: claimed, asked and kept, while other processes share the work."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prefboost.engines.engine import Engine, Failure, Result
from prefboost.engines.pool import run_batches
from prefboost.engines.store.interface import AnswerStore, Stored, StoreQuery

__all__ = ["Finished", "Logprobs", "Numbers", "PendingRows", "ask_in_batches", "ask_singly"]

T = TypeVar("T")
Logprobs = tuple[float, ...]

_CLAIMED_AT_ONCE = 16
_POLL_S = 0.2


@dataclass(frozen=True)
class Numbers:
    """Numbers that a model computes from a sequence: one per head, or a log-prob."""

    values: list[float]


@dataclass(frozen=True)
class Finished(Generic[T]):
    """Rows that are done: (index of the request, answer or failure), and whether another call had done them."""

    results: list[tuple[int, T | Failure]]
    stored: bool


class PendingRows(Generic[T]):
    """Rows of a request list by index; several indices may have the same key.

    Args:
        queries: of every row.
        store: open.
        read: a stored answer -> what is yielded of it.
    """

    def __init__(
        self, queries: Sequence[StoreQuery], store: AnswerStore, read: Callable[[Mapping[str, Any]], T]
    ) -> None:
        self.asked = queries
        self.store = store
        self.read = read
        # Key -> indices; equal requests are asked once and answered at every index.
        self.places: dict[str, list[int]] = {}
        for index, each in enumerate(queries):
            self.places.setdefault(each.key, []).append(index)
        self.done: set[str] = set()

    def list_unique(self) -> list[int]:
        """List the first index of every key."""
        return [places[0] for places in self.places.values()]

    def list_missing(self) -> list[int]:
        """List the first index of every key without an answer."""
        return [places[0] for key, places in self.places.items() if key not in self.done]

    def order_missing(self) -> list[int]:
        """Order them: rows that failed in an earlier call last, so that the others are done if those stop this one."""
        # A row that breaks a server would otherwise be the first that every new call asks.
        missing = self.list_missing()
        failed = self.store.failures(self.asked[index].key for index in missing)
        return sorted(missing, key=lambda index: self.asked[index].key in failed)

    def read_stored(self) -> Finished[T]:
        """Read what the store has answered already."""
        return self.collect(self.store.find_answers(self.places), stored=True)

    def collect(self, stored_by_key: Mapping[str, Stored], *, stored: bool) -> Finished[T]:
        """Spread answers over all the indices of their keys."""
        self.done.update(stored_by_key)
        return Finished(
            [
                (index, answer if isinstance(answer, Failure) else self.read(answer))
                for key, answer in stored_by_key.items()
                for index in self.places[key]
            ],
            stored,
        )

    def keep(self, outcomes: Sequence[tuple[int, Any]]) -> Finished[T]:
        """Store answers that have come."""
        rows: list[tuple[StoreQuery, Stored]] = []
        for index, outcome in outcomes:
            stored: Stored
            if isinstance(outcome, Failure):
                stored = outcome
            elif isinstance(outcome, Result | Numbers):
                # asdict() would copy every field in depth, for a quarter of what keeping an answer takes.
                stored = dict(vars(outcome))
            else:
                stored = {"logprobs": list(outcome)}
            rows.append((self.asked[index], stored))
        return self.collect(self.store.finish(rows), stored=False)


def ask_singly(
    engine: Engine,
    rows: PendingRows[T],
    ask: Callable[[Iterable[int]], Generator[Sequence[tuple[int, Any]], None, None]],
) -> Iterator[Finished[T]]:
    """Claim rows as the engine gets to them, keep them as they come, and wait for what other processes ask.

    Args:
        engine: its ledger says whether to go on.
        rows: their stored answers are read already.
        ask: indices, drawn one by one -> batches of (place among the drawn, outcome).
    """
    waiting = rows.order_missing()
    # Filled while the engine draws rows. Taken: position in the engine's order -> index.
    taken: list[int] = []
    held: list[int] = []
    others: list[Finished[T]] = []

    def claim_rows() -> Iterator[int]:
        for start in range(0, len(waiting), _CLAIMED_AT_ONCE):
            # Claimed in chunks as the engine gets to them, so that processes that share a store share its work.
            chunk = waiting[start : start + _CLAIMED_AT_ONCE]
            claim = rows.store.claim([rows.asked[index] for index in chunk])
            first = {rows.asked[index].key: index for index in chunk}
            if claim.known:
                others.append(rows.collect(claim.known, stored=True))
            held.extend(first[key] for key in claim.held)
            for key in claim.granted:
                taken.append(first[key])
                yield first[key]

    while waiting:
        # Closed here, also where an answer cannot be kept: calls in flight are cancelled and settled before that error
        # goes on, not whenever the interpreter collects the generator.
        with closing(ask(claim_rows())) as batches:
            for batch in batches:
                outcomes = [(taken[at], outcome) for at, outcome in batch]
                try:
                    finished = rows.keep(outcomes)
                except KeyboardInterrupt:
                    # Where Ctrl-C comes in between, answers are kept before it goes on: they are paid for.
                    rows.keep(outcomes)
                    raise
                yield finished
                while others:
                    yield others.pop()
        while others:
            yield others.pop(0)
        if engine.ledger.exhausted:
            return
        waiting, taken, held = held, [], []
        if waiting:
            # SQLite has no way to wake another process; five looks in a second cost nothing beside a call.
            time.sleep(_POLL_S)


def ask_in_batches(
    stopped: Callable[[], bool],
    rows: PendingRows[T],
    plan: Sequence[Sequence[int]],
    ask: Callable[[Sequence[int]], Iterator[tuple[int, Any]]],
    at_once: int = 1,
) -> Iterator[Finished[T]]:
    """Claim and keep whole batches.

    Args:
        stopped: tells whether to go on.
        rows: their stored answers are read already.
        plan: indices of each batch.
        ask: indices -> (place among them, outcome); in threads where ``at_once`` is above 1.
        at_once: most batches that are asked at a time, as many as a pool of machines computes.
    """
    waiting = list(plan)
    held: list[Sequence[int]] = []
    others: list[Finished[T]] = []

    def claim_batches() -> Iterator[list[int]]:
        for batch in waiting:
            missing = [index for index in batch if rows.asked[index].key not in rows.done]
            claim = rows.store.claim([rows.asked[index] for index in missing], whole=True)
            if claim.known:
                others.append(rows.collect(claim.known, stored=True))
            if claim.held:
                # Another process computes a part of this batch; it is looked at again after the others.
                held.append(batch)
                continue
            granted = set(claim.granted)
            if granted_indices := [index for index in missing if rows.asked[index].key in granted]:
                yield granted_indices
                if stopped():
                    return

    while waiting:
        for batch, outcomes in run_batches(claim_batches(), lambda indices: list(ask(indices)), at_once):
            yield rows.keep([(batch[at], outcome) for at, outcome in outcomes])
            while others:
                yield others.pop(0)
        while others:
            yield others.pop(0)
        if stopped():
            return
        waiting, held = held, []
        if waiting:
            time.sleep(_POLL_S)
