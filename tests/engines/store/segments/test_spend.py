"""The sum of what every writer says: the budget holds whoever spends at once, and a killed writer counts too much."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from prefboost.engines.budget import Budget, Ledger, Spend
from prefboost.engines.store.segments.spend import SegmentBook
from prefboost.shelf import open_shelf

CALL = Spend(1, 10, 10, 0.5)


def test_one_writer_spends_the_budget_to_its_end(tmp_path: Path) -> None:
    book, budget = SegmentBook(open_shelf(tmp_path), "a"), Budget(requests=3, tokens=100, dollars=1.5)
    assert book.add(Spend(2, 30, 30, 0.5), budget)
    for refused in (Spend(2, 1, 1, 0.0), Spend(1, 40, 1, 0.0), Spend(1, 1, 1, 1.1)):
        assert not book.add(refused, budget)
    assert book.add(Spend(1, 20, 20, 0.5), budget) and book.total() == Spend(3, 50, 50, 1.0)
    book.close()
    assert SegmentBook(open_shelf(tmp_path), "b").total() == Spend(3, 50, 50, 1.0)


@pytest.mark.parametrize("limit", [1, 7, 300])
def test_writers_at_once_never_exceed_the_budget(tmp_path: Path, limit: int) -> None:
    budget = Budget(requests=limit)
    books = [SegmentBook(open_shelf(tmp_path), name) for name in "abcd"]
    counts = dict.fromkeys("abcd", 0)

    def spend(book: SegmentBook) -> None:
        while book.add(CALL, budget):
            counts[book.writer] += 1
        book.close()

    threads = [threading.Thread(target=spend, args=(book,)) for book in books]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = sum(counts.values())
    assert spent <= limit
    # What others gave back is left for whoever comes then.
    last = SegmentBook(open_shelf(tmp_path), "z")
    while last.add(CALL, budget):
        spent += 1
    assert spent == limit and last.total().requests == limit


def test_a_writer_that_was_killed_counts_what_it_had_put_down(tmp_path: Path) -> None:
    killed = SegmentBook(open_shelf(tmp_path), "a")
    for _ in range(3):
        killed.add(CALL, Budget(requests=1000))
    total = SegmentBook(open_shelf(tmp_path), "b").total()
    assert 3 <= total.requests <= 3 + 16
    assert killed.total().requests == 3


def test_without_a_budget_few_files_are_written_and_what_is_left_over_goes_back(tmp_path: Path) -> None:
    book = SegmentBook(open_shelf(tmp_path), "a")
    ledger = Ledger(book=book)
    for _ in range(200):
        assert ledger.reserve(CALL)
        ledger.settle(CALL, Spend(1, 10, 2, 0.1))
    ledger.close()
    assert book._count < 30
    book.close()
    total = SegmentBook(open_shelf(tmp_path), "b").total()
    assert (total.requests, total.tokens) == (200, 400)
    assert len(open_shelf(tmp_path).list_files("spend")) <= 2


def test_costs_of_another_store_are_taken_over_once(tmp_path: Path) -> None:
    book = SegmentBook(open_shelf(tmp_path), "a")
    for _ in range(2):
        book.import_total(CALL * 7, "shard")
    assert book.total() == CALL * 7
