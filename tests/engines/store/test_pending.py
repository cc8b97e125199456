"""Rows without an answer: shared between processes, kept as they come; in whole batches where they need each other."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Failure
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.pending import Numbers, PendingRows, ask_in_batches, ask_singly
from prefboost.engines.store.store import Store

QUERIES = [StoreQuery("numbers", {"row": row}) for row in (0, 1, 2, 1)]


def pending(store: Store) -> PendingRows[Numbers]:
    rows = PendingRows(QUERIES, store, lambda answer: Numbers(**answer))
    rows.read_stored()
    return rows


def ask(indices: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
    for at, index in enumerate(indices):
        yield [(at, Numbers([float(index)]))]


def test_equal_rows_are_asked_once_and_answered_at_every_index(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    with Store(tmp_path) as store:
        batches = list(ask_singly(engine, pending(store), ask))
        assert [batch.results for batch in batches] == [
            [(0, Numbers([0.0]))], [(1, Numbers([1.0])), (3, Numbers([1.0]))], [(2, Numbers([2.0]))]
        ]  # fmt: skip
        assert pending(store).list_missing() == []


def test_rows_that_another_process_asks_are_waited_for_and_taken_from_it(tmp_path: Path) -> None:
    engine: Any = SimpleNamespace(ledger=Ledger())
    with Store(tmp_path) as other, Store(tmp_path) as store:
        other.claim(QUERIES[:1])

        def ask_and_let_the_other_finish(indices: Iterable[int]) -> Generator[Sequence[tuple[int, Any]], None, None]:
            yield from ask(indices)
            other.finish([(QUERIES[0], {"values": [7.0]})])

        batches = list(ask_singly(engine, pending(store), ask_and_let_the_other_finish))
        found = {index: outcome for batch in batches for index, outcome in batch.results}
        assert found[0] == Numbers([7.0]) and sorted(found) == [0, 1, 2, 3]
        assert [batch.stored for batch in batches] == [False, False, True]


def test_a_batch_is_kept_whole_and_a_spent_budget_ends_after_it(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def compute(batch: Sequence[int]) -> Iterator[tuple[int, Any]]:
        asked.append(list(batch))
        yield from enumerate([Failure("no", 1), Numbers([1.0])][: len(batch)])

    with Store(tmp_path) as store:
        (finished,) = ask_in_batches(lambda: True, pending(store), [[0, 1], [2]], compute)
        assert asked == [[0, 1]] and not finished.stored
        assert finished.results == [(0, Failure("no", 1)), (1, Numbers([1.0])), (3, Numbers([1.0]))]
