"""Budgets are never exceeded, whoever spends."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.budget import Budget, Ledger, Price, Spend, Tally, describe_spent_budget, find_price
from prefboost.errors import SettingsError

PRICE = Price(prompt=2.0, completion=8.0)
CALLS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100), st.integers(0, 100)), max_size=40
)


@given(CALLS, st.integers(0, 30), st.integers(0, 900), st.floats(0, 0.01))
def test_no_order_of_calls_exceeds_the_budget_and_what_is_counted_is_what_was_spent(
    calls: list[tuple[int, int, int, int]], requests: int, tokens: int, dollars: float
) -> None:
    budget = Budget(requests=requests, tokens=tokens, dollars=dollars)
    ledger = Ledger(budget, PRICE)
    spent = Spend()
    for read, written, more_read, more_written in calls:
        most = ledger.cost(read + more_read, written + more_written)
        if ledger.reserve(most):
            ledger.settle(most, ledger.cost(read, written))
            spent += ledger.cost(read, written)
        assert budget.allows(ledger.book.total() - Spend(dollars=1e-12))
    assert ledger.spent.requests == spent.requests
    assert ledger.book.total().tokens == spent.tokens
    assert ledger.book.total().dollars == pytest.approx(spent.dollars)
    assert ledger.in_flight == 0


def test_threads_that_share_a_book_keep_to_it_together() -> None:
    book, budget = Tally(), Budget(requests=100)

    def spend() -> None:
        ledger = Ledger(budget, book=book)
        for _ in range(80):
            ledger.reserve(ledger.cost(1, 1))

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert book.total() == Spend(100, 100, 100)


def test_dollars_are_by_the_million_tokens() -> None:
    assert PRICE.dollars(1_000_000, 500_000) == pytest.approx(6.0)
    assert Ledger(price=PRICE).cost(10, 10) == Spend(1, 10, 10, pytest.approx(1e-4))


def test_a_budget_in_dollars_needs_a_price() -> None:
    assert find_price("m", {"m": PRICE}, Budget(dollars=1)) == PRICE
    assert find_price("m", {}, Budget(tokens=1)) is None
    with pytest.raises(SettingsError, match="the price table has no 'm'"):
        find_price("m", {"other": PRICE}, Budget(dollars=1))


def test_without_a_budget_calls_are_booked_ahead_and_what_is_left_goes_back() -> None:
    class Counting(Tally):
        written = 0

        def add(self, amount: Spend, budget: Budget) -> bool:
            self.written += 1
            return super().add(amount, budget)

    book = Counting()
    ledger = Ledger(book=book)
    most, actual = ledger.cost(100, 50), ledger.cost(60, 10)
    for number in range(1, 41):
        assert ledger.reserve(most)
        total = book.total()
        assert total.covers(ledger.spent), "a killed process leaves too much in the book, never too little"
        assert total.requests <= number + 16
        ledger.settle(most, actual)
    assert book.written <= 4
    ledger.close()
    assert book.total() == ledger.spent == Spend(40, 2400, 400)


def test_a_budget_that_a_bill_has_exceeded_says_so() -> None:
    ledger = Ledger(Budget(tokens=100))
    assert ledger.reserve(Spend(1, 40, 50))
    assert "billed more" not in describe_spent_budget(ledger, 0, 9).message
    ledger.settle(Spend(1, 40, 50), Spend(1, 40, 500))
    assert (
        "540 tokens" in (found := describe_spent_budget(ledger, 1, 9).message)
        and "billed more than any call may cost" in found
    )
