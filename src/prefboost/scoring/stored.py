"""Numbers that this machine computes for scorers and judges: looked up in the store, or computed and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Failure
from prefboost.engines.pool import run_batches
from prefboost.engines.store.interface import AnswerStore, StoreQuery
from prefboost.engines.store.pending import Finished, Numbers, PendingPiece, build_piece
from prefboost.engines.store.reuse import compute_stored
from prefboost.progress import WorkProgress

__all__ = ["PIECE_ITEMS", "compute_numbers", "cut_pieces", "key_of_ids"]

P = TypeVar("P")

PIECE_ITEMS = 20_000
"""Items that are planned together: enough that batches of one length are full, few enough to be held."""


def key_of_ids(identity: str, *ids: Sequence[int]) -> str:
    """Derive a key of numbers: a hash of the model and of token ids (prompt, completion)."""
    parts = [identity, *(",".join(map(str, part)) for part in ids)]
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def cut_pieces(items: Iterable[P], size: int = PIECE_ITEMS) -> Iterator[list[P]]:
    """Cut items into lists of a size; the last one may be shorter."""
    remaining = iter(items)
    while piece := list(islice(remaining, size)):
        yield piece


def compute_numbers(  # noqa: PLR0913 - what is computed, and how
    sequences: Iterable[tuple[int, str, P]],
    total: int,
    plan: Callable[[list[P]], Iterable[Sequence[int]]],
    compute: Callable[[list[P]], list[list[float]]],
    session: CallSession,
    stage: str,
    *,
    at_once: int = 1,
    piece_items: int = PIECE_ITEMS,
) -> Iterator[tuple[int, list[float] | None]]:
    """Compute or look up the numbers of every sequence, equal ones of a piece once.

    A batch is kept whole or not at all, so that a resumed run gives what an uninterrupted one does.

    Args:
        sequences: (index, key, sequence) with rising indices, of some of the items; drawn piece by piece.
        total: of all items; those without a sequence count as done.
        plan: sequences of a piece, whatever the store holds of it -> places of each batch.
        compute: numbers of a batch.
        session: where they are kept.
        stage: what is being computed, for whoever is told.
        at_once: most batches that are computed at a time.
        piece_items: sequences that are planned together.

    Yields:
        (index, numbers), in the order in which batches finish; None where only what is stored is wanted and this is
        not.
    """
    work = WorkProgress(stage, total)
    session.tell(work)
    pieces = (
        build_piece((index, StoreQuery("numbers", {"sequence": key}), sequence) for index, key, sequence in piece)
        for piece in cut_pieces(sequences, piece_items)
    )
    if session.store is not None and session.partial:
        for piece in pieces:
            yield from _look_up(piece, session.store)
        return
    batches: Iterator[Finished[Numbers]]
    if session.store is None:
        planned = (
            [piece.rows[at] for at in each] for piece in pieces for each in plan([r.request for r in piece.rows])
        )
        computed = run_batches(planned, lambda rows: compute([row.request for row in rows]), at_once)
        batches = (
            Finished(
                [(at, Numbers(each)) for row, each in zip(*batch, strict=True) for at in row.indices], stored=False
            )
            for batch in computed
        )
    else:
        batches = compute_stored(pieces, plan, compute, session.store, at_once)
    for batch in batches:
        done = len(batch.results)
        work = replace(work, done=work.done + done, stored=work.stored + (done if batch.stored else 0))
        session.tell(work)
        yield from ((index, row.values) for index, row in batch.results if not isinstance(row, Failure))
    if work.done < total:
        session.tell(replace(work, done=total))


def _look_up(piece: PendingPiece[P], store: AnswerStore) -> Iterator[tuple[int, list[float] | None]]:
    answers = store.find_answers([row.query.key for row in piece.rows])
    for row in piece.rows:
        answer = answers.get(row.query.key)
        values = None if answer is None or isinstance(answer, Failure) else answer["values"]
        yield from ((index, values) for index in row.indices)
