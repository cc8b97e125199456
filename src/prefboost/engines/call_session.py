"""State that the calls of one command share: store of answers, budget and prices, progress."""

from __future__ import annotations

from dataclasses import dataclass, field

from prefboost.engines.budget import UNLIMITED, Book, Ledger, Spending, Tally, find_price
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.pool import open_engine
from prefboost.engines.store.interface import AnswerStore
from prefboost.engines.store.sightings import describe_change
from prefboost.progress import Tell

__all__ = ["NOT_YET", "CallSession"]

NOT_YET = "not done yet"
"""Reason of a row without an answer or a number in a partial table."""


@dataclass(frozen=True)
class CallSession:
    """Hold what the calls of one command share.

    Args:
        store: open; holds what has been computed and answered, and gets what is new. None keeps nothing.
        spending: budget and prices of the engines that are asked.
        tell: is called with the progress after every batch.
        partial: computes and asks nothing: what the store does not hold has the fault `NOT_YET`.
    """

    store: AnswerStore | None = None
    spending: Spending = UNLIMITED
    tell: Tell = lambda _: None
    partial: bool = False
    # Fields, not caches of a property: `dataclasses.replace` hands the same ones to a session with another `tell`.
    _tally: Book = field(default_factory=Tally)
    _engines: dict[str, Engine] = field(default_factory=dict)

    @property
    def book(self) -> Book:
        """Total over all engines: the store's, which remembers earlier calls, or one in memory."""
        return self._tally if self.store is None else self.store.book()

    @property
    def changes(self) -> list[str | None]:
        """Of every engine opened here, whether different models have answered under its name."""
        return [] if self.store is None else [describe_change(self.store, engine) for engine in self._engines.values()]

    def open_engine(self, settings: EngineSettings, engine: Engine | None = None) -> Engine:
        """Open an engine whose calls are held to the budget, over all calls that share the store.

        Args:
            settings: settings of the engine; the same ones give the same engine.
            engine: the engine, where it is open already.

        Raises:
            SettingsError: the budget is in dollars, and the price table does not name the model.
        """
        # Two engines of the same settings would hold two copies of the weights.
        key = repr(settings)
        if key not in self._engines:
            price = find_price(model_name(settings), self.spending.prices, self.spending.budget)
            opened = open_engine(settings) if engine is None else engine
            opened.ledger = Ledger(self.spending.budget, price, self.book)
            self._engines[key] = opened
        return self._engines[key]
