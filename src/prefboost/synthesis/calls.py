"""Ask models for what a method needs: through one store, within one budget, for any number of models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from prefboost.engines.ask import ChoiceLogprobs, Inquiry, InWords, Reading, Reply, Unasked
from prefboost.engines.budget import Spend
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine, Failure, Outcome, Request, Sampling
from prefboost.engines.kinds import EngineSettings, model_name
from prefboost.errors import ModelError
from prefboost.progress import WorkProgress
from prefboost.scoring.scorer import Scorer, StoredScorer
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
        session: store, budget of all engines together, prices and progress.
        exhausted: the budget has not allowed a call.
        spent: stage -> what it has cost.
    """

    session: CallSession = field(default_factory=CallSession)
    exhausted: bool = False
    spent: dict[str, Spend] = field(default_factory=dict)

    def completions(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], sampling: Sampling
    ) -> list[Outcome | None]:
        """Ask for completions (see `ModelCalls`). Prompts that the model cannot take are failures."""
        model = self.session.open_engine(engine)
        outcomes: dict[int, Any] = {at: _find_refusal(model, request) for at, request in enumerate(requests)}
        allowed = [at for at, refusal in outcomes.items() if refusal is None]
        replies = self._ask(stage, model, [requests[at] for at in allowed], InWords(sampling))
        outcomes.update(zip(allowed, replies, strict=True))
        return list(outcomes.values())

    def choices(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], choices: Sequence[str]
    ) -> list[Choices]:
        """Ask for the log-probs of choices (see `ModelCalls`).

        Raises:
            ModelError: the engine gives no log-probs of choices.
        """
        return self._ask(stage, self.session.open_engine(engine), requests, ChoiceLogprobs(tuple(choices)))

    def likelihoods(self, engine: EngineSettings, requests: Sequence[Request], texts: Sequence[str]) -> list[float]:
        """Compute log-probs of texts (see `ModelCalls`), anew by every call: nothing is sampled, so nothing is stored.

        Raises:
            ModelError: the engine gives none.
        """
        completions = [[{"role": "assistant", "content": text, "extra": None}] for text in texts]
        return self.session.open_engine(engine).logprob_of(requests, completions)

    def score(self, scorer: Scorer, table: Table) -> Table:
        """Score completions through the same store and budget (see `ModelCalls`)."""
        if not isinstance(scorer, StoredScorer):
            return scorer.score(table)
        # Scorers name their work each in its own way; whoever watches a synthesis sees one stage.
        session = replace(self.session, tell=lambda work: self.session.tell(replace(work, name="scores")))
        return scorer.score_stored(table, session)

    def _ask(self, stage: str, engine: Engine, requests: Sequence[Request], reading: Reading) -> list[Any]:
        """Return an answer or a failure for every request; None where the budget did not allow it."""
        # The ledger counts over all stages of an engine, so a stage's share is a difference.
        before = engine.ledger.spent
        inquiry = Inquiry(engine, self.session, WorkProgress(stage, len(requests)), too_long=TOO_LONG)
        replies: dict[int, Reply | None] = dict.fromkeys(range(len(requests)))
        for batch in inquiry.ask(requests, reading):
            replies.update(batch)
        self.spent[stage] = self.spent.get(stage, Spend()) + engine.ledger.spent - before
        self.exhausted = self.exhausted or engine.ledger.exhausted
        return [
            Failure(f"{reply.reason}: {reply.detail}", 0, permanent=True) if isinstance(reply, Unasked) else reply
            for reply in replies.values()
        ]


def _find_refusal(engine: Engine, request: Request) -> Failure | None:
    """Find why a prompt cannot be rendered; None where it can."""
    try:
        engine.render(request)
    except ModelError as error:
        first_line = error.message.partition("\n")[0]
        return Failure(f"{REFUSED}: {first_line[:200]}", 0, permanent=True)
    return None
