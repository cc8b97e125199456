"""Numbers that models compute, batch by batch: finished batches are kept on disk, equal sequences computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prefboost.engines.lines import Lines

__all__ = ["Numbers", "ScoreJournal", "ScoreProgress", "Tell", "filled", "key_of_ids"]


@dataclass(frozen=True)
class Numbers:
    """One line of the journal.

    Args:
        values: a number a head; or log-probs.
        text: what a model answered, where it was asked in words.
        cut: whether that answer was cut.
    """

    values: list[float]
    text: str | None = None
    cut: bool = False


ScoreJournal = Lines[Numbers]
"""Numbers on disk by key."""


@dataclass(frozen=True)
class ScoreProgress:
    """How far it is: ``stored`` of the ``done`` sequences are from an earlier, interrupted call."""

    stage: str
    sequences: int
    done: int = 0
    stored: int = 0


Tell = Callable[[ScoreProgress], None]
"""Is told after every batch."""


def key_of_ids(identity: str, *ids: Sequence[int]) -> str:
    """Name of a number: a hash of the model and of token ids (prompt, completion)."""
    parts = [identity, *(",".join(map(str, part)) for part in ids)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def filled(
    keys: Sequence[str],
    plan: Callable[[list[int]], Iterable[Sequence[int]]],
    compute: Callable[[Sequence[int]], list[list[float]]],
    journal: ScoreJournal | None,
    tell: Callable[[int, int, int], None],
) -> list[list[float]]:
    """The numbers of every key, equal keys computed once.

    A batch that is not complete in the journal is computed whole, so that a resumed run gives what an uninterrupted
    one does.

    Args:
        keys: names of the sequences.
        plan: indices of different sequences, all of them whatever the journal holds -> batches of them.
        compute: numbers of a batch.
        journal: open; gets every finished batch. None keeps nothing.
        tell: is told how many different sequences there are, are done, and were in the journal.

    Returns:
        numbers in the order of the keys.
    """
    places: dict[str, int] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, index)
    first = list(places.values())
    known = {} if journal is None else {key: row.values for key, row in journal.known.items()}
    found: dict[str, list[float]] = {}
    stored = 0
    tell(len(first), 0, 0)
    for batch in plan(first):
        names = [keys[index] for index in batch]
        if all(name in known for name in names):
            stored += len(names)
            found.update((name, known[name]) for name in names)
        else:
            computed = dict(zip(names, compute(batch), strict=True))
            found.update(computed)
            if journal is not None:
                journal.add([(name, Numbers(values)) for name, values in computed.items()])
        tell(len(first), len(found), stored)
    return [found[key] for key in keys]
