"""The total spent, kept in a store: exact over all its processes and calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefboost.engines.budget import Budget, Spend

__all__ = ["StoreBook"]

_ADD = """
UPDATE spend SET requests = requests + :r, prompt_tokens = prompt_tokens + :p, tokens = tokens + :t,
    dollars = dollars + :d
WHERE (:mr IS NULL OR requests + :r <= :mr) AND (:mt IS NULL OR prompt_tokens + tokens + :p + :t <= :mt)
    AND (:md IS NULL OR dollars + :d <= :md)
"""


class StoreBook:
    """See `prefboost.engines.budget.Book`: kept in a store, exact over processes."""

    def __init__(self, transaction: Callable[..., Any]) -> None:
        self._transaction = transaction

    def add(self, amount: Spend, budget: Budget) -> bool:
        """Add an amount if the total stays within the budget."""
        values = {
            "r": amount.requests, "p": amount.prompt_tokens, "t": amount.tokens, "d": amount.dollars,
            "mr": budget.requests, "mt": budget.tokens, "md": budget.dollars,
        }  # fmt: skip
        with self._transaction() as run:
            # Check and addition are one statement, so two processes cannot each fit and exceed the budget together.
            return bool(run(_ADD, values).rowcount)

    def total(self) -> Spend:
        """Return all that was spent."""
        with self._transaction("DEFERRED") as run:
            return Spend(*run("SELECT requests, prompt_tokens, tokens, dollars FROM spend").fetchone())
