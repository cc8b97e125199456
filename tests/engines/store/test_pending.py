"""Rows without an answer: shared between processes, kept as they come; in whole batches where they need each other."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure
from prefboost.engines.store import pending
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.pending import (
    BatchStream,
    Numbers,
    PendingPiece,
    RowKeeper,
    ask_in_batches,
    ask_singly,
    build_piece,
)
from prefboost.engines.store.store import Store

QUERIES = [StoreQuery("numbers", {"row": row}) for row in (0, 1, 2, 1)]


def build(queries: Sequence[StoreQuery] = QUERIES, start: int = 0) -> PendingPiece[int]:
    return build_piece((start + at, query, start + at) for at, query in enumerate(queries))


def keeper(store: Store) -> RowKeeper[Numbers]:
    return RowKeeper(store, lambda answer: Numbers(**answer))


def ask(requests: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
    for at, request in enumerate(requests):
        yield [(at, Numbers([float(request)]))]


def test_equal_rows_are_asked_once_and_answered_at_every_index(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    with Store(tmp_path) as store:
        batches = list(ask_singly(engine, keeper(store), [build()], ask))
        assert [batch.results for batch in batches] == [
            [(0, Numbers([0.0]))], [(1, Numbers([1.0])), (3, Numbers([1.0]))], [(2, Numbers([2.0]))]
        ]  # fmt: skip
        again = list(ask_singly(engine, keeper(store), [build()], ask))
        assert [batch.stored for batch in again] == [True] and len(again[0].results) == 4


def test_a_question_that_is_asked_already_is_not_asked_again_for_a_later_piece(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    rounds: list[list[int]] = []

    def ask_side_by_side(requests: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
        rounds.append(list(requests))
        yield [(at, Numbers([float(request)])) for at, request in enumerate(rounds[-1])]

    with Store(tmp_path) as store:
        batches = list(ask_singly(engine, keeper(store), [build(), build(start=4)], ask_side_by_side))
    found = {index: outcome for batch in batches for index, outcome in batch.results}
    assert rounds[0] == [0, 1, 2] and not any(rounds[1:])
    assert {index: outcome.values for index, outcome in found.items() if isinstance(outcome, Numbers)} == {
        0: [0.0], 1: [1.0], 2: [2.0], 3: [1.0], 4: [0.0], 5: [1.0], 6: [2.0], 7: [1.0]
    }  # fmt: skip


def test_rows_that_failed_in_an_earlier_call_are_asked_after_all_pieces(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    with Store(tmp_path) as store:
        store.finish([(QUERIES[0], Failure("broken", 3))])
    asked: list[int] = []

    def note(requests: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
        for at, request in enumerate(requests):
            asked.append(request)
            yield [(at, Numbers([0.0]))]

    with Store(tmp_path) as store:
        more = [StoreQuery("numbers", {"row": row}) for row in (7, 8)]
        list(ask_singly(engine, keeper(store), [build(), build(more, 4)], note))
    assert asked == [1, 2, 4, 5, 0]


def test_answers_of_the_store_are_handed_on_before_all_pieces_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    monkeypatch.setattr(pending, "_MOST_UNREAD", 4)
    drawn: list[int] = []

    def draw() -> Iterator[PendingPiece[int]]:
        for start in range(0, 40, 4):
            drawn.append(start)
            yield build(start=start)

    def compute(batch: list[int]) -> Iterator[tuple[int, Any]]:
        yield from enumerate(Numbers([float(row)]) for row in batch)

    with Store(tmp_path) as store:
        list(ask_singly(engine, keeper(store), [build()], ask))
        for batches in (
            ask_singly(engine, keeper(store), draw(), ask),
            ask_in_batches(
                BatchStream(keeper(store), draw(), lambda rows: [range(len(rows))], lambda: False),
                keeper(store),
                compute,
            ),
        ):
            drawn.clear()
            read = [(len(batch.results), len(drawn)) for batch in batches]
            assert read == [(4, piece) for piece in range(1, 11)]


def test_rows_that_another_process_asks_are_waited_for_and_taken_from_it(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    with Store(tmp_path) as other, Store(tmp_path) as store:
        other.claim(QUERIES[:1])

        def ask_and_let_the_other_finish(requests: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
            yield from ask(requests)
            other.finish([(QUERIES[0], {"values": [7.0]})])

        batches = list(ask_singly(engine, keeper(store), [build()], ask_and_let_the_other_finish))
        found = {index: outcome for batch in batches for index, outcome in batch.results}
        assert found[0] == Numbers([7.0]) and sorted(found) == [0, 1, 2, 3]
        assert [batch.stored for batch in batches] == [False, False, True]


def test_a_batch_is_kept_whole_and_a_spent_budget_ends_after_it(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def compute(batch: Sequence[int]) -> Iterator[tuple[int, Any]]:
        asked.append(list(batch))
        yield from enumerate([Failure("no", 1), Numbers([1.0])][: len(batch)])

    with Store(tmp_path) as store:
        stream = BatchStream(keeper(store), [build()], lambda rows: [[0, 1], [2]], lambda: True)
        (finished,) = ask_in_batches(stream, keeper(store), compute)
        assert asked == [[0, 1]] and not finished.stored
        assert finished.results == [(0, Failure("no", 1)), (1, Numbers([1.0])), (3, Numbers([1.0]))]
