"""Numbers that this machine computes for scorers and judges: looked up in the store, or computed and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from prefboost.engines.desk import Desk
from prefboost.engines.engine import Failure
from prefboost.engines.store.reuse import compute_stored
from prefboost.engines.store.store import StoreQuery
from prefboost.progress import WorkProgress

__all__ = ["fill_numbers", "key_of_ids"]


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
    # Reversed, so that of equal keys the first index stays.
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
