"""Ask models for what a method needs: through one store, within one budget, for any number of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from prefboost.engines.budget import Book, Budget, Ledger, Price, Spend, Spending, Tally, find_price
from prefboost.engines.engine import Engine, Failure, Outcome, Request, Result, Sampling
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.engines.store.reuse import (
    Finished,
    generate_stored,
    generate_within_budget,
    logprobs_stored,
    weigh_within_budget,
)
from prefboost.engines.store.store import Store
from prefboost.errors import ModelError, PrefboostError
from prefboost.progress import WorkProgress
from prefboost.scoring.scorer import Scorer, StoredScorer
from prefboost.scoring.stored import Desk
from prefboost.tables import Table

__all__ = ["ModelCalls", "Calls", "Choices", "model_name"]

Choices = tuple[float, ...] | Failure | None
"""Log-probs of choices, why there are none, or None where the budget did not allow the question."""

TOO_LONG = "the prompt and max_tokens exceed the model's context"
REFUSED = "the chat template refuses the prompt"


class ModelCalls(Protocol):
    """Requests that a method can make: `Calls`, or a rehearsal that only counts."""

    def completions(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], sampling: Sampling
    ) -> list[Outcome | None]:
        """Ask for completions; one outcome per request, None where the budget did not allow it.

        Args:
            stage: what is asked for, as progress shows it.
            engine: who is asked.
            requests: rows.
            sampling: how tokens are drawn.
        """

    def choices(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], choices: Sequence[str]
    ) -> list[Choices]:
        """Ask for the log-prob (nats) of each choice as the next text, one tuple per request."""

    def likelihoods(self, engine: EngineSettings, requests: Sequence[Request], texts: Sequence[str]) -> list[float]:
        """Compute the log-prob of each text as the completion of its prompt: nats, summed over tokens."""

    def score(self, scorer: Scorer, table: Table) -> Table:
        """Score completions."""


@dataclass
class Calls:
    """Asks engines through a store, so that what is there is not asked again.

    Args:
        store: open; None keeps nothing.
        budget: what may be spent by all engines together.
        prices: model -> price.
        tell: is told a stage, how many of its rows there are, and how many are done.
    """

    store: Store | None = None
    budget: Budget = field(default_factory=Budget)
    prices: Mapping[str, Price] = field(default_factory=dict)
    tell: Callable[[str, int, int], None] = lambda *_: None
    exhausted: bool = False
    spent: dict[str, Spend] = field(default_factory=dict)
    _engines: dict[str, Engine] = field(default_factory=dict)
    _tally: Book = field(default_factory=Tally)

    @property
    def book(self) -> Book:
        """Where the total is kept: the store's, which remembers earlier calls, or one in memory."""
        return self._tally if self.store is None else self.store.book()

    def open_engine(self, settings: EngineSettings) -> Engine:
        """Open the engine; the same settings give the same one."""
        # Two engines of the same settings would hold two copies of the weights.
        key = repr(settings)
        if key not in self._engines:
            engine = settings.open()
            engine.ledger = Ledger(self.budget, find_price(model_name(settings), self.prices, self.budget), self.book)
            self._engines[key] = engine
        return self._engines[key]

    def completions(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], sampling: Sampling
    ) -> list[Outcome | None]:
        """Ask for completions (see `ModelCalls`). Prompts that the model cannot take are failures."""
        model = self.open_engine(engine)
        refused = {at: fault for at, each in enumerate(requests) if (fault := _find_refusal(model, each, sampling))}
        allowed = [at for at in range(len(requests)) if at not in refused]
        allowed_requests = [requests[at] for at in allowed]

        def ask() -> Iterator[Finished[Result]]:
            if self.store is not None:
                yield from generate_stored(model, allowed_requests, sampling, self.store)
            else:
                yield from (
                    Finished([pair], stored=False) for pair in generate_within_budget(model, allowed_requests, sampling)
                )

        outcomes = self._collect(stage, model, len(allowed_requests), ask)
        place = {at: number for number, at in enumerate(allowed)}
        return [refused[at] if at in refused else outcomes.get(place[at]) for at in range(len(requests))]

    def choices(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], choices: Sequence[str]
    ) -> list[Choices]:
        """Ask for the log-probs of choices (see `ModelCalls`).

        Raises:
            ModelError: the engine gives no log-probs of choices.
        """
        model = self.open_engine(engine)

        def ask() -> Iterator[Finished[tuple[float, ...]]]:
            if self.store is not None:
                yield from logprobs_stored(model, requests, choices, self.store)
            else:
                yield from (Finished([pair], stored=False) for pair in weigh_within_budget(model, requests, choices))

        outcomes = self._collect(stage, model, len(requests), ask)
        return [outcomes.get(at) for at in range(len(requests))]

    def likelihoods(self, engine: EngineSettings, requests: Sequence[Request], texts: Sequence[str]) -> list[float]:
        """Compute log-probs of texts (see `ModelCalls`), anew by every call: nothing is sampled, so nothing is stored.

        Raises:
            ModelError: the engine gives none.
        """
        completions = [[{"role": "assistant", "content": text, "extra": None}] for text in texts]
        return self.open_engine(engine).logprob_of(requests, completions)

    def score(self, scorer: Scorer, table: Table) -> Table:
        """Score completions through the same store and budget (see `ModelCalls`)."""
        if isinstance(scorer, StoredScorer):
            spending = Spending(budget=self.budget, prices=dict(self.prices))
            return scorer.score_stored(table, Desk(self.store, spending, self._tell_scores))
        return scorer.score(table)

    def _tell_scores(self, work: WorkProgress) -> None:
        self.tell("scores", work.total or 0, work.done)

    def _collect(
        self, stage: str, engine: Engine, rows: int, ask: Callable[[], Iterator[Finished[Any]]]
    ) -> dict[int, Any]:
        outcomes: dict[int, Any] = {}
        # The ledger counts over all stages of an engine, so a stage's share is a difference.
        before = engine.ledger.spent
        self.tell(stage, rows, 0)
        for batch in ask():
            outcomes.update(batch.results)
            self.tell(stage, rows, len(outcomes))
        self.spent[stage] = self.spent.get(stage, Spend()) + engine.ledger.spent - before
        self.exhausted = self.exhausted or engine.ledger.exhausted
        return outcomes


def _find_refusal(engine: Engine, request: Request, sampling: Sampling) -> Failure | None:
    """Find why a prompt cannot be asked; None where it can."""
    try:
        engine.render(request)
    except ModelError as error:
        return Failure(f"{REFUSED}: {_first_line(error)}", 0, permanent=True)
    if engine.context is None:
        return None
    tokens = engine.prompt_tokens([request])[0] + sampling.max_tokens
    return Failure(f"{TOO_LONG}: {tokens} tokens", 0, permanent=True) if tokens > engine.context else None


def _first_line(error: PrefboostError) -> str:
    return error.found.partition("\n")[0][:200]
