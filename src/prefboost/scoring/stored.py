"""The desk of scorers and judges: store of finished work, budget, and progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prefboost.engines.budget import UNLIMITED, Book, Ledger, Spending, Tally, find_price
from prefboost.engines.engine import Engine, Failure
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.reuse import compute_stored
from prefboost.engines.store.sightings import describe_change
from prefboost.engines.store.store import Store, StoreQuery
from prefboost.progress import Tell, WorkProgress

__all__ = ["NOT_YET", "Desk", "fill_numbers", "key_of_ids"]

NOT_YET = "not done yet"
"""Reason of a row without a score in a partial table."""


@dataclass(frozen=True)
class Desk:
    """The working place of a scorer or judge.

    Args:
        store: open; holds what has been computed and answered, and gets what is new. None keeps nothing.
        spending: budget and prices of the engines that are asked.
        tell: is told how far it is.
        partial: computes and asks nothing: what the store does not hold has the fault `NOT_YET`.
    """

    store: Store | None = None
    spending: Spending = UNLIMITED
    tell: Tell = lambda _: None
    partial: bool = False
    _tally: Book = field(default_factory=Tally)
    _engines: list[Engine] = field(default_factory=list)

    @property
    def changes(self) -> list[str | None]:
        """Of every engine opened here, whether different models have answered under its name."""
        return [] if self.store is None else [describe_change(self.store, engine) for engine in self._engines]

    def open_engine(self, settings: EngineSettings) -> Engine:
        """Open an engine whose calls are held to the budget, over all calls that share the store.

        Raises:
            SettingsError: the budget is in dollars, and the price table does not name the model.
        """
        price = find_price(model_name(settings), self.spending.prices, self.spending.budget)
        engine = settings.open()
        engine.ledger = Ledger(self.spending.budget, price, self._tally if self.store is None else self.store.book())
        self._engines.append(engine)
        return engine


def key_of_ids(identity: str, *ids: Sequence[int]) -> str:
    """Derive a key of numbers: a hash of the model and of token ids (prompt, completion)."""
    parts = [identity, *(",".join(map(str, part)) for part in ids)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def fill_numbers(
    keys: Sequence[str],
    plan: Callable[[list[int]], Iterable[Sequence[int]]],
    compute: Callable[[Sequence[int]], list[list[float]]],
    desk: Desk,
    stage: str,
) -> list[list[float] | None]:
    """Compute or look up the numbers of every key, equal keys once.

    A batch is kept whole or not at all, so that a resumed run gives what an uninterrupted one does.

    Args:
        keys: names of the sequences.
        plan: indices of different sequences, all of them whatever the store holds -> batches of them.
        compute: numbers of a batch.
        desk: where they are kept.
        stage: what is being computed, for whoever is told.

    Returns:
        numbers in the order of the keys; None where only what is stored is wanted and this is not.
    """
    different = len(set(keys))
    desk.tell(WorkProgress(stage, different))
    if desk.store is None:
        numbers: Mapping[str, list[float]] = _compute_all(keys, plan, compute, desk, stage)
    elif desk.partial:
        stored = desk.store.find_answers(_make_query(key).key for key in keys)
        by_key = {key: stored.get(_make_query(key).key) for key in keys}
        numbers = {
            key: row["values"] for key, row in by_key.items() if row is not None and not isinstance(row, Failure)
        }
    else:
        numbers = _from_store(keys, plan, compute, desk, stage)
    return [numbers.get(key) for key in keys]


def _make_query(key: str) -> StoreQuery:
    return StoreQuery("numbers", {"sequence": key})


def _compute_all(
    keys: Sequence[str],
    plan: Callable[[list[int]], Iterable[Sequence[int]]],
    compute: Callable[[Sequence[int]], list[list[float]]],
    desk: Desk,
    stage: str,
) -> dict[str, list[float]]:
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    numbers: dict[str, list[float]] = {}
    for batch in plan(sorted(first.values())):
        numbers.update(zip((keys[index] for index in batch), compute(batch), strict=True))
        desk.tell(WorkProgress(stage, len(first), len(numbers)))
    return numbers


def _from_store(
    keys: Sequence[str],
    plan: Callable[[list[int]], Iterable[Sequence[int]]],
    compute: Callable[[Sequence[int]], list[list[float]]],
    desk: Desk,
    stage: str,
) -> dict[str, list[float]]:
    assert desk.store is not None
    numbers: dict[str, list[float]] = {}
    stored = 0
    for batch in compute_stored([_make_query(key) for key in keys], plan, compute, desk.store):
        before = len(numbers)
        numbers.update((keys[index], row.values) for index, row in batch.results if not isinstance(row, Failure))
        stored += len(numbers) - before if batch.stored else 0
        desk.tell(WorkProgress(stage, len(set(keys)), len(numbers), stored))
    return numbers
