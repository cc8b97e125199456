"""Cost of calls, and a budget that is never exceeded: a call's highest cost is reserved before it is made."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pydantic import Field

from prefboost.engines.patience import Patience
from prefboost.errors import RunError, SettingsError
from prefboost.settings import Settings

__all__ = [
    "Bills",
    "Book",
    "Budget",
    "Ledger",
    "Price",
    "Spend",
    "Spending",
    "UNLIMITED",
    "Tally",
    "describe_spent_budget",
    "find_price",
]

T = TypeVar("T")


class Budget(Settings):
    """The most that may be spent; what is not named is not limited."""

    requests: int | None = Field(None, ge=0, description="Most calls, failed ones included.")
    tokens: int | None = Field(None, ge=0, description="Most tokens, of prompts and completions.")
    dollars: float | None = Field(None, ge=0.0, description="Most dollars, by the price table.")

    def narrow(self, allowance: Spend) -> Budget:
        """Return a budget of an allowance, limited in what this one limits."""
        tokens = allowance.prompt_tokens + allowance.tokens
        return Budget(
            requests=None if self.requests is None else allowance.requests,
            tokens=None if self.tokens is None else tokens,
            dollars=None if self.dollars is None else allowance.dollars,
        )

    def allows(self, total: Spend) -> bool:
        """Tell whether a total is within the budget."""
        limits = (
            (self.requests, total.requests),
            (self.tokens, total.prompt_tokens + total.tokens),
            (self.dollars, total.dollars),
        )
        return all(limit is None or spent <= limit for limit, spent in limits)


class Price(Settings):
    """Price of a model's tokens."""

    prompt: float = Field(ge=0.0, description="Dollars for a million tokens read.")
    completion: float = Field(ge=0.0, description="Dollars for a million tokens written.")

    def dollars(self, prompt_tokens: int, tokens: int) -> float:
        """Compute the cost of tokens read and written, in dollars."""
        return (self.prompt * prompt_tokens + self.completion * tokens) / 1e6


class Spending(Patience):
    """Budget and prices of calls, and which failures are asked again."""

    budget: Budget = Field(Budget(), description="Limits of spending, over all calls that share the store.")
    prices: dict[str, Price] = Field({}, description="Price table: the model's name to dollars a million tokens.")


_NO_BUDGET = Budget()
_BOOKED_AHEAD = 16
"""Calls that are booked in one go where there is no budget."""

_LOOK_AGAIN_S = 0.05
"""Seconds after which a call that the budget does not allow yet asks again."""

_HEADROOM = 2
"""Times what a server has billed beyond a call's limits that is set aside: such bills differ by row, and many calls
are out at once."""

UNLIMITED = Spending()
"""No budget and no prices."""


@dataclass(frozen=True)
class Spend:
    """Calls, tokens read, tokens written, dollars."""

    requests: int = 0
    prompt_tokens: int = 0
    tokens: int = 0
    dollars: float = 0.0

    def __add__(self, other: Spend) -> Spend:
        return Spend(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.tokens + other.tokens,
            self.dollars + other.dollars,
        )

    def __mul__(self, times: int) -> Spend:
        return Spend(self.requests * times, self.prompt_tokens * times, self.tokens * times, self.dollars * times)

    def covers(self, other: Spend) -> bool:
        """Tell whether every amount is at least as large as the other's."""
        return (
            self.requests >= other.requests
            and self.prompt_tokens >= other.prompt_tokens
            and self.tokens >= other.tokens
            and self.dollars >= other.dollars
        )

    def __neg__(self) -> Spend:
        return Spend(-self.requests, -self.prompt_tokens, -self.tokens, -self.dollars)

    def __sub__(self, other: Spend) -> Spend:
        return Spend(
            self.requests - other.requests,
            self.prompt_tokens - other.prompt_tokens,
            self.tokens - other.tokens,
            self.dollars - other.dollars,
        )


@dataclass(frozen=True)
class Bills:
    """Excess of a server's bills over the limits of calls.

    Args:
        read_beyond: most tokens read beyond those that a prompt can have.
        written_times: most tokens written, as a multiple of those that may be written.
    """

    read_beyond: int = 0
    written_times: float = 1.0

    def __or__(self, other: Bills) -> Bills:
        return Bills(max(self.read_beyond, other.read_beyond), max(self.written_times, other.written_times))


class Book(Protocol):
    """Keeper of a total."""

    def add(self, amount: Spend, budget: Budget) -> bool:
        """Check and add an amount in one; False, and nothing is added, where the total would exceed the budget."""

    def total(self) -> Spend:
        """Return the sum of all amounts that were added."""


class Tally:
    """A book in memory."""

    def __init__(self) -> None:
        self._total = Spend()
        self._lock = threading.Lock()

    def add(self, amount: Spend, budget: Budget) -> bool:
        """See `Book`."""
        with self._lock:
            # Check and addition under one lock: two threads could each fit, and exceed the budget together.
            after = self._total + amount
            if not budget.allows(after):
                return False
            self._total = after
            return True

    def total(self) -> Spend:
        """See `Book`."""
        return self._total


class Ledger:
    """Counts calls and holds them to a budget.

    Args:
        budget: the most that may be spent in the book, by whoever writes in it.
        price: of the model; None: dollars are not counted.
        book: where the total is kept; a store's book is shared by all its processes and remembers earlier calls.
        bills: what the server is known to bill beyond limits; None: no call has shown it yet.
    """

    def __init__(
        self,
        budget: Budget | None = None,
        price: Price | None = None,
        book: Book | None = None,
        bills: Bills | None = None,
    ) -> None:
        self.budget = budget if budget is not None else Budget()
        self.price = price
        self.book: Book = book if book is not None else Tally()
        self.spent = Spend()
        self.in_flight = 0
        self.exhausted = False
        self._lock = threading.Lock()
        # Comparing settings anew for every call costs more than the rest.
        self._is_limited = self.budget != _NO_BUDGET
        self.bills = bills
        self._ahead = Spend()

    @property
    def must_measure(self) -> bool:
        """Whether a first call is out whose bill shows how a server counts, and the budget depends on that."""
        counted = self.budget.tokens is not None or self.budget.dollars is not None
        return counted and self.bills is None and self.in_flight > 0

    def measure(self, most: tuple[int, int], billed: tuple[int, int]) -> None:
        """Take note of what a server bills beyond what a call could cost by its limits.

        Some count hidden prompts, or tokens of reasoning over ``max_tokens``. Twice what was billed beyond the limits
        is set aside for every later call (`limit_cost`), so that the budget is only exceeded where a bill goes beyond
        them more than twice as far as any before.

        Args:
            most: tokens read and written at most, by the question.
            billed: tokens read and written, by the server.
        """
        # One bill is enough: servers count hidden prompts in every call alike.
        self.note_bills(Bills(max(0, billed[0] - most[0]), max(1.0, billed[1] / max(most[1], 1))))

    def note_bills(self, bills: Bills) -> None:
        """Take note of bills that this ledger or another one of the same server has seen."""
        self.bills = bills | (self.bills or Bills())

    def limit_cost(self, prompt_tokens: int, tokens: int) -> Spend:
        """Compute the highest cost of a call from its limits and what the server has billed beyond them before."""
        # Billed beyond the limit by a factor w: reserve 1 + 2 (w - 1), since bills differ by row.
        bills = self.bills or Bills()
        times = 1.0 + _HEADROOM * (bills.written_times - 1.0)
        return self.cost(prompt_tokens + _HEADROOM * bills.read_beyond, math.ceil(tokens * times))

    def cost(self, prompt_tokens: int, tokens: int, requests: int = 1) -> Spend:
        """Compute the cost of calls with these tokens."""
        dollars = self.price.dollars(prompt_tokens, tokens) if self.price is not None else 0.0
        return Spend(requests, prompt_tokens, tokens, dollars)

    def while_allowed(self, jobs: Iterator[T]) -> Iterator[T]:
        """Yield jobs until the budget is exhausted; take none in vain."""
        while not self.exhausted and (job := next(jobs, None)) is not None:
            yield job

    def reserve(self, most: Spend) -> bool:
        """Set the most that a call can cost aside; False where the budget does not allow it.

        Without a budget several calls are booked ahead in one go, and what earlier ones have left over goes back with
        them: a book in a store is a file, and writing it twice for every call cost as much as keeping the answer. A
        killed process leaves some calls too many in the book, never too few.
        """
        with self._lock:
            if self._is_limited:
                if not self.book.add(most, self.budget):
                    return False
            else:
                # Each book entry is a transaction of SQLite, so one entry pays for several calls.
                if not self._ahead.covers(most):
                    block = most * _BOOKED_AHEAD
                    self.book.add(block - self._ahead, _NO_BUDGET)
                    self._ahead = block
                self._ahead -= most
            self.spent += most
            self.in_flight += 1
        return True

    def reserve_patiently(self, most: Spend) -> bool:
        """Reserve like `reserve`, but wait for calls in flight, which may free enough; False: `exhausted` is set."""
        while not self.reserve(most):
            if self.exhausted or not self.in_flight:
                self.exhausted = True
                return False
            time.sleep(_LOOK_AGAIN_S)
        return True

    def settle(self, most: Spend, actual: Spend) -> None:
        """Put what a call has cost in the place of what was set aside for it."""
        # Negative in the usual case: what the call did not need goes back.
        beyond = actual - most
        with self._lock:
            if self._is_limited:
                # What was billed is written down even beyond the budget: the money is spent.
                self.book.add(beyond, _NO_BUDGET)
            else:
                # Kept in memory for the next call. A killed process leaves it in the book: too much, never too little.
                self._ahead -= beyond
            self.spent += beyond
            self.in_flight -= 1

    def close(self) -> None:
        """Give back what was booked ahead; call it when no call is out any more."""
        with self._lock:
            if self._ahead != Spend():
                self.book.add(-self._ahead, _NO_BUDGET)
                self._ahead = Spend()


def describe_spent_budget(ledger: Ledger, done: int, rows: int) -> RunError:
    """Describe a spent budget as an error: its limits, the total, and how many rows are done."""
    # Of the book, not of this call: earlier calls of the same store have spent of it too.
    total = ledger.book.total()
    budget = ", ".join(f"{name} {limit:,}" for name, limit in ledger.budget if limit is not None)
    spent = f"{total.requests:,} requests, {total.prompt_tokens + total.tokens:,} tokens, ${total.dollars:,.2f}"
    over = "" if ledger.budget.allows(total) else "; the server billed more than any call may cost by its limits"
    return RunError(
        f"the budget ({budget}) is used up: {spent} are spent, {done:,} of {rows:,} rows are finished{over}",
        remedy="raise the budget and run the same command again; generate, score and judge write the finished rows "
        "with --partial",
    )


def find_price(model: str, prices: Mapping[str, Price], budget: Budget) -> Price | None:
    """Look a model up in a price table; None where it has no price.

    Raises:
        SettingsError: a budget in dollars, and no price.
    """
    price = prices.get(model)
    if price is None and budget.dollars is not None:
        named = ", ".join(prices) or "empty"
        raise SettingsError(
            f"the budget is in dollars, but the price table has no {model!r} (it is {named})",
            remedy=f"set prices to {{{model!r}: {{prompt: DOLLARS, completion: DOLLARS}}}}, per million tokens",
        )
    return price
