"""Rows that a store has no answer to yet: claimed, asked and kept, while other processes share the work.

Rows come in pieces, each looked up and claimed when the engine gets to it. So the memory taken depends on the size of a
piece and on the calls in flight, not on the number of rows; and the engine is kept busy from piece to piece.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Generic, TypeVar

from prefboost.engines.engine import Engine, Failure, Result
from prefboost.engines.pool import run_batches
from prefboost.engines.store.interface import AnswerStore, Stored, StoreQuery

__all__ = [
    "BatchStream",
    "Finished",
    "Logprobs",
    "Numbers",
    "PendingPiece",
    "PendingRow",
    "RowKeeper",
    "RowStream",
    "ask_in_batches",
    "ask_singly",
    "build_piece",
]

P = TypeVar("P")
T = TypeVar("T")
Logprobs = tuple[float, ...]

_CLAIMED_AT_ONCE = 16
_POLL_S = 0.2

_MOST_UNREAD = 20_000
"""Answers of the store that wait for the next one of the engine; beyond that no row is drawn until they are read."""


@dataclass(frozen=True)
class Numbers:
    """Numbers that a model computes from a sequence: one per head, or a log-prob."""

    values: list[float]


@dataclass(frozen=True)
class Finished(Generic[T]):
    """Rows that are done: (index of the request, answer or failure), and whether another call had done them."""

    results: list[tuple[int, T | Failure]]
    stored: bool


@dataclass(eq=False)
class PendingRow(Generic[P]):
    """A question of which one answer is wanted, at every index where it was asked.

    Args:
        query: row of the store that holds the answer.
        request: what is asked.
        indices: of all equal requests.
        done: whether it is answered.
    """

    query: StoreQuery
    request: P
    indices: list[int]
    done: bool = False


@dataclass(frozen=True)
class PendingPiece(Generic[P]):
    """Rows that are looked up, planned and claimed together.

    Args:
        rows: with different keys.
        settled: (index, reply) of requests that are not asked.
    """

    rows: list[PendingRow[P]]
    settled: list[tuple[int, Any]] = field(default_factory=list)


def build_piece(rows: Iterable[tuple[int, StoreQuery, P]]) -> PendingPiece[P]:
    """Build a piece of (index, query, request); equal requests become one row."""
    # In the order of the first requests, which is that in which they are planned and asked.
    by_key: dict[str, PendingRow[P]] = {}
    for index, query, request in rows:
        row = by_key.setdefault(query.key, PendingRow(query, request, []))
        row.indices.append(index)
    return PendingPiece(list(by_key.values()))


class RowKeeper(Generic[T]):
    """Looks rows up in a store, and keeps their answers.

    Args:
        store: open.
        read: a stored answer -> what is yielded of it.
    """

    def __init__(self, store: AnswerStore, read: Callable[[Mapping[str, Any]], T]) -> None:
        self.store = store
        self.read = read

    def look_up(self, piece: PendingPiece[Any]) -> list[Finished[T]]:
        """Read what is known of a piece: replies that need no answer, and what the store has answered already."""
        rows = {row.query.key: row for row in piece.rows}
        stored = self.collect(rows, self.store.find_answers(rows), stored=True)
        return [batch for batch in (Finished(piece.settled, stored=False), stored) if batch.results]

    def split_missing(self, piece: PendingPiece[P]) -> tuple[list[PendingRow[P]], list[PendingRow[P]]]:
        """Split rows without an answer into those that were never asked, and those that failed in an earlier call."""
        missing = [row for row in piece.rows if not row.done]
        failed = self.store.failures(row.query.key for row in missing)
        return (
            [row for row in missing if row.query.key not in failed],
            [row for row in missing if row.query.key in failed],
        )

    def collect(
        self, rows: Mapping[str, PendingRow[Any]], stored_by_key: Mapping[str, Stored], *, stored: bool
    ) -> Finished[T]:
        """Spread answers over all the indices of their rows, which are done then."""
        results: list[tuple[int, T | Failure]] = []
        for key, answer in stored_by_key.items():
            row = rows[key]
            # Rows without an answer are told by this mark alone: keys of all pieces would grow with the rows.
            row.done = True
            results += [(at, answer if isinstance(answer, Failure) else self.read(answer)) for at in row.indices]
        return Finished(results, stored)

    def keep(self, outcomes: Sequence[tuple[PendingRow[Any], Any]]) -> Finished[T]:
        """Store answers that have come."""
        answers: list[tuple[StoreQuery, Stored]] = []
        for row, outcome in outcomes:
            stored: Stored
            if isinstance(outcome, Failure):
                stored = outcome
            elif isinstance(outcome, Result | Numbers):
                # asdict() would copy every field in depth, for a quarter of what keeping an answer takes.
                stored = dict(vars(outcome))
            else:
                stored = {"logprobs": list(outcome)}
            answers.append((row.query, stored))
        return self.collect({row.query.key: row for row, _ in outcomes}, self.store.finish(answers), stored=False)


class RowStream(Generic[P, T]):
    """Rows of pieces on their way to an engine that answers each by itself.

    Args:
        keeper: of the store.
        pieces: drawn when the engine gets to them.
    """

    def __init__(self, keeper: RowKeeper[T], pieces: Iterable[PendingPiece[P]]) -> None:
        self.is_drawn = False
        """Whether all pieces are."""
        self.others: list[Finished[T]] = []
        """What the store had, and nobody has read yet."""
        self.held: list[PendingRow[P]] = []
        """Rows that another process asks, or this one for an earlier piece."""
        self._keeper = keeper
        self._remaining = iter(pieces)
        self._failed: list[PendingRow[P]] = []
        # Filled while the engine draws rows: place among the drawn -> row.
        self._flying: dict[int, PendingRow[P]] = {}
        self._flying_keys: set[str] = set()
        self._drawn = 0

    def draw(self, again: Sequence[PendingRow[P]]) -> Iterator[P]:
        """Claim and yield requests: first those of rows that were held, then those of the pieces."""
        # A new draw begins a new call of the engine, which has nothing in flight and counts from 0.
        self._flying.clear()
        self._flying_keys.clear()
        self._drawn = 0
        yield from self.claim(again)
        for piece in self._remaining:
            self.others.extend(self._keeper.look_up(piece))
            fresh, failed = self._keeper.split_missing(piece)
            self._failed.extend(failed)
            yield from self.claim(fresh)
            # A long row of stored pieces gives the engine nothing to answer, after which what they hold would be read:
            # its call ends here, and the next one goes on with the piece that follows.
            if _count_results(self.others) >= _MOST_UNREAD:
                return
        if not self.is_drawn:
            self.is_drawn = True
            # Last: a row that breaks a server would otherwise be the first that every new call asks.
            yield from self.claim(self._failed)

    def claim(self, rows: Sequence[PendingRow[P]]) -> Iterator[P]:
        """Claim rows and yield their requests, but those that are answered or held."""
        for start in range(0, len(rows), _CLAIMED_AT_ONCE):
            # Claimed in chunks as the engine gets to them, so that processes that share a store share its work.
            chunk = rows[start : start + _CLAIMED_AT_ONCE]
            # The store would grant this process a question of an earlier piece again, which costs money.
            self.held.extend(row for row in chunk if row.query.key in self._flying_keys)
            by_key = {row.query.key: row for row in chunk if row.query.key not in self._flying_keys}
            claim = self._keeper.store.claim([row.query for row in by_key.values()])
            if claim.known:
                self.others.append(self._keeper.collect(by_key, claim.known, stored=True))
            self.held.extend(by_key[key] for key in claim.held)
            self._flying_keys.update(claim.granted)
            for key in claim.granted:
                self._flying[self._drawn] = by_key[key]
                self._drawn += 1
                yield by_key[key].request

    def keep(self, batch: Sequence[tuple[int, Any]]) -> Finished[T]:
        """Keep (place among the drawn, outcome)."""
        outcomes = [(self._flying[at], outcome) for at, outcome in batch]
        try:
            finished = self._keeper.keep(outcomes)
        except KeyboardInterrupt:
            # Where Ctrl-C comes in between, answers are kept before it goes on: they are paid for.
            self._keeper.keep(outcomes)
            raise
        for at, _ in batch:
            self._flying_keys.discard(self._flying.pop(at).query.key)
        return finished


def ask_singly(
    engine: Engine,
    keeper: RowKeeper[T],
    pieces: Iterable[PendingPiece[P]],
    ask: Callable[[Iterator[P]], Generator[Sequence[tuple[int, Any]], None, None]],
) -> Iterator[Finished[T]]:
    """Claim rows as the engine gets to them, keep them as they come, and wait for what other processes ask.

    Args:
        engine: its ledger says whether to go on.
        keeper: of the store.
        pieces: drawn when the engine gets to them.
        ask: requests, drawn one by one -> batches of (place among the drawn, outcome).
    """
    stream = RowStream(keeper, pieces)
    while True:
        again, stream.held = stream.held, []
        # Closed here, also where an answer cannot be kept: calls in flight are cancelled and settled before that error
        # goes on, not whenever the interpreter collects the generator.
        with closing(ask(stream.draw(again))) as batches:
            for batch in batches:
                yield stream.keep(batch)
                while stream.others:
                    yield stream.others.pop()
        while stream.others:
            yield stream.others.pop(0)
        if engine.ledger.exhausted or (stream.is_drawn and not stream.held):
            return
        if stream.is_drawn:
            # SQLite has no way to wake another process; five looks in a second cost nothing beside a call.
            time.sleep(_POLL_S)


class BatchStream(Generic[P, T]):
    """Batches of rows of pieces on their way to an engine that computes each as a whole.

    Args:
        keeper: of the store.
        pieces: drawn when there is room for another batch.
        plan: requests of a piece, stored ones too -> places of each batch; not called where all of them are stored.
        stopped: tells whether to go on.
    """

    def __init__(
        self,
        keeper: RowKeeper[T],
        pieces: Iterable[PendingPiece[P]],
        plan: Callable[[list[P]], Iterable[Sequence[int]]],
        stopped: Callable[[], bool],
    ) -> None:
        self.is_drawn = False
        """Whether all pieces are."""
        self.others: list[Finished[T]] = []
        """What the store had, and nobody has read yet."""
        self.held: list[list[PendingRow[P]]] = []
        """Batches of which another process computes a part; they are looked at again after the others."""
        self._keeper = keeper
        self._remaining = iter(pieces)
        self._plan = plan
        self.is_stopped = stopped

    def draw(self, again: Sequence[list[PendingRow[P]]]) -> Iterator[list[PendingRow[P]]]:
        """Claim and yield batches, without the rows that are answered: first those that were held."""
        for batch in chain(again, self.plan_pieces()):
            missing = {row.query.key: row for row in batch if not row.done}
            claim = self._keeper.store.claim([row.query for row in missing.values()], whole=True)
            if claim.known:
                self.others.append(self._keeper.collect(missing, claim.known, stored=True))
            if claim.held:
                # Whole, though some of its rows may be answered: the batch is what is computed to the last bit.
                self.held.append(batch)
            elif rows := [missing[key] for key in claim.granted]:
                yield rows
                if self.is_stopped():
                    return

    def plan_pieces(self) -> Iterator[list[PendingRow[P]]]:
        """Look pieces up and plan them, until all are drawn or many answers of the store are to be read."""
        for piece in self._remaining:
            self.others.extend(self._keeper.look_up(piece))
            if not all(row.done for row in piece.rows):
                # Planned from all rows of the piece: an interrupted run must meet the same batches to the last bit.
                for batch in self._plan([row.request for row in piece.rows]):
                    yield [piece.rows[at] for at in batch]
            # As in `RowStream.draw`: read what stored pieces hold before more of it is looked up.
            if _count_results(self.others) >= _MOST_UNREAD:
                return
        self.is_drawn = True


def ask_in_batches(
    stream: BatchStream[P, T],
    keeper: RowKeeper[T],
    ask: Callable[[list[P]], Iterable[tuple[int, Any]]],
    at_once: int = 1,
) -> Iterator[Finished[T]]:
    """Claim and keep whole batches, and wait for what other processes compute.

    Args:
        stream: of the batches.
        keeper: of the store.
        ask: requests of a batch -> (place among them, outcome); in threads where ``at_once`` is above 1.
        at_once: most batches that are asked at a time, as many as a pool of machines computes.
    """
    while True:
        again, stream.held = stream.held, []
        batches = run_batches(stream.draw(again), lambda rows: list(ask([row.request for row in rows])), at_once)
        for rows, outcomes in batches:
            yield keeper.keep([(rows[at], outcome) for at, outcome in outcomes])
            while stream.others:
                yield stream.others.pop(0)
        while stream.others:
            yield stream.others.pop(0)
        if stream.is_stopped() or (stream.is_drawn and not stream.held):
            return
        if stream.is_drawn:
            time.sleep(_POLL_S)


def _count_results(batches: Iterable[Finished[Any]]) -> int:
    return sum(len(batch.results) for batch in batches)
