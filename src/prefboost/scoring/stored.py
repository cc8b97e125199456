"""Numbers that this machine computes for scorers and judges: looked up in the store, or computed and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from prefboost.engines.desk import Desk
from prefboost.engines.engine import Failure
from prefboost.engines.pool import run_batches
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.pending import Finished, Numbers
from prefboost.engines.store.reuse import compute_stored
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
    at_once: int = 1,
) -> list[list[float] | None]:
    """Compute or look up the numbers of every key, equal keys once.

    A batch is kept whole or not at all, so that a resumed run gives what an uninterrupted one does.

    Args:
        keys: names of the sequences.
        plan: indices of different sequences, all of them whatever the store holds -> batches of them.
        compute: numbers of a batch.
        desk: where they are kept.
        stage: what is being computed, for whoever is told.
        at_once: most batches that are computed at a time.

    Returns:
        numbers in the order of the keys; None where only what is stored is wanted and this is not.
    """
    work = WorkProgress(stage, len(set(keys)))
    desk.tell(work)
    queries = [StoreQuery("numbers", {"sequence": key}) for key in keys]
    if desk.store is not None and desk.partial:
        rows = desk.store.find_answers(query.key for query in queries)
        answers = (rows.get(query.key) for query in queries)
        return [None if row is None or isinstance(row, Failure) else row["values"] for row in answers]
    numbers: dict[str, list[float]] = {}
    batches: Iterator[Finished[Numbers]]
    if desk.store is None:
        # Reversed, so that of equal keys the first index stays.
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        batches = (
            Finished([(at, Numbers(values)) for at, values in zip(batch, rows, strict=True)], stored=False)
            for batch, rows in run_batches(plan(sorted(first.values())), compute, at_once)
        )
    else:
        batches = compute_stored(queries, plan, compute, desk.store, at_once)
    for batch in batches:
        before = len(numbers)
        numbers.update((keys[index], row.values) for index, row in batch.results if not isinstance(row, Failure))
        stored = len(numbers) - before if batch.stored else 0
        work = replace(work, done=len(numbers), stored=work.stored + stored)
        desk.tell(work)
    return [numbers.get(key) for key in keys]
