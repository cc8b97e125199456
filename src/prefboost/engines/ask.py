"""Ask a model through the store: each question once, within the budget, with progress; an interrupted call resumes.

Generation, synthesis, scoring, judging and the answers of an evaluation all go through `Inquiry`. Keys and files of the
store are those of `prefboost.engines.store.reuse`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefboost.engines.desk import NOT_YET, Desk
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.interface import AnswerStore, StoreQuery
from prefboost.engines.store.pending import Finished, Logprobs
from prefboost.engines.store.reuse import (
    generate_stored,
    generate_within_budget,
    logprobs_stored,
    query_completion,
    query_logprobs,
    weigh_within_budget,
)
from prefboost.engines.store.sightings import Watch
from prefboost.progress import WorkProgress

__all__ = ["ChoiceLogprobs", "InWords", "Inquiry", "Reading", "Reply", "Unasked"]


@dataclass(frozen=True)
class Unasked:
    """Mark of a question that no model was asked.

    Args:
        reason: `NOT_YET` where only stored replies are wanted; `Inquiry.too_long` where the model cannot see it whole.
        detail: the numbers behind the reason.
    """

    reason: str
    detail: str = ""


Reply = Result | Logprobs | Failure | Unasked
"""Outcome of a question: words, log-probs of choices, a failure, or a mark that it was not asked."""


@dataclass(frozen=True)
class InWords:
    """Read a model's answer in words.

    Args:
        sampling: how answers are drawn.
    """

    sampling: Sampling

    @property
    def max_tokens(self) -> int:
        """Greatest length of an answer in tokens."""
        return self.sampling.max_tokens

    def describe(self, engine: Engine, request: Request) -> StoreQuery:
        """Return the row of the store that holds the answer."""
        return query_completion(engine, request, self.sampling)

    def ask_stored(
        self,
        engine: Engine,
        requests: Sequence[Request],
        store: AnswerStore,
        queries: Sequence[StoreQuery] | None = None,
    ) -> Iterator[Finished[Any]]:
        """Complete every request through the store; ``queries`` of `describe`, where the caller has them."""
        return generate_stored(engine, requests, self.sampling, store, queries)

    def ask_directly(self, engine: Engine, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Complete every request within the budget, without a store."""
        return generate_within_budget(engine, requests, self.sampling)


@dataclass(frozen=True)
class ChoiceLogprobs:
    """Read the log-probs with which a model would begin its answer with each of some choices.

    Args:
        choices: short texts that begin with different tokens.
    """

    choices: tuple[str, ...]

    @property
    def max_tokens(self) -> int:
        """Tokens that a model writes to give log-probs."""
        return 1  # the first token alone is weighed

    def describe(self, engine: Engine, request: Request) -> StoreQuery:
        """Return the row of the store that holds the log-probs."""
        return query_logprobs(engine, request, self.choices)

    def ask_stored(
        self,
        engine: Engine,
        requests: Sequence[Request],
        store: AnswerStore,
        queries: Sequence[StoreQuery] | None = None,
    ) -> Iterator[Finished[Any]]:
        """Read the log-probs of every request through the store; ``queries`` as for `InWords`."""
        return logprobs_stored(engine, requests, self.choices, store, queries)

    def ask_directly(self, engine: Engine, requests: Sequence[Request]) -> Iterator[tuple[int, Any]]:
        """Read the log-probs of every request within the budget, without a store."""
        return weigh_within_budget(engine, requests, self.choices)


Reading = InWords | ChoiceLogprobs
"""A way to read a model: words, or log-probs of choices."""


class Inquiry:
    """All questions of one stage to one engine, in one round or several; it counts them and reports progress.

    Args:
        engine: the model; its ledger holds it to a budget.
        desk: store, progress, and whether only stored replies are wanted.
        work: name and number of the questions of all rounds, as they are reported.
        watch: records the name under which a server replies.
        too_long: reason of a question that the model cannot see whole; None where the caller has left those out.
    """

    def __init__(
        self,
        engine: Engine,
        desk: Desk,
        work: WorkProgress,
        *,
        watch: Watch | None = None,
        too_long: str | None = None,
    ) -> None:
        self.engine = engine
        self.desk = desk
        self.work = work
        self.watch = watch
        self.too_long = too_long
        self._report()

    def ask(self, requests: Sequence[Request], reading: Reading) -> Iterator[list[tuple[int, Reply]]]:
        """Ask one round of questions; equal ones are asked once, failed ones again by the next call.

        Args:
            requests: the questions.
            reading: what is read of the model.

        Yields:
            (index of the request, reply), in batches as they come. Where the budget or the engine ends early, the
            remaining requests have no reply.
        """
        # 1. Equal questions are one: they share a key. Without a store too, so that costs do not depend on it.
        queries = [reading.describe(self.engine, request) for request in requests]
        indices: dict[str, list[int]] = {}
        for index, query in enumerate(queries):
            indices.setdefault(query.key, []).append(index)

        # 2. What the model cannot see whole is not asked, and not stored: a larger context would answer it.
        # Lengths of a server's prompts are estimates: what passes here may be refused there, as a failure.
        refused: dict[str, Unasked] = {}
        if self.too_long is not None and indices and (limit := self.engine.context) is not None:
            lengths = self.engine.prompt_tokens([requests[places[0]] for places in indices.values()])
            refused = {
                key: Unasked(self.too_long, f"{length:,} tokens and {reading.max_tokens:,}, at most {limit:,}")
                for key, length in zip(indices, lengths, strict=True)
                if length + reading.max_tokens > limit
            }
        if refused:
            yield self._count([(at, mark) for key, mark in refused.items() for at in indices[key]], False)
        keys = [key for key in indices if key not in refused]

        # 3. A partial desk looks answers up. Another process may be writing the store meanwhile.
        if self.desk.store is not None and self.desk.partial:
            rows = self.desk.store.find_answers(keys)
            stored: list[tuple[int, Reply]] = []
            for key in keys:
                row = rows.get(key)
                if row is None or isinstance(row, Failure):
                    # A mark, not a failure: nothing went wrong, and a failure would be counted against the model.
                    reply: Reply = Unasked(NOT_YET) if row is None else row
                else:
                    reply = tuple(row["logprobs"]) if "logprobs" in row else Result(**row)
                stored += [(at, reply) for at in indices[key]]
            yield self._count(stored, True)
            return

        # 4. The rest is asked. A key takes a rendered prompt, so the store is handed those of above.
        firsts = [indices[key][0] for key in keys]
        chosen = [requests[at] for at in firsts]
        if self.desk.store is not None:
            batches = reading.ask_stored(self.engine, chosen, self.desk.store, [queries[at] for at in firsts])
        else:
            # Nothing is kept, so each answer is a batch of its own: progress moves with every one.
            batches = (Finished([pair], stored=False) for pair in reading.ask_directly(self.engine, chosen))
        for batch in batches:
            # A server may change the model behind its name at any call; stored replies say nothing new of it.
            if self.watch is not None and not batch.stored:
                self.watch.look()
            replies = [(at, reply) for place, reply in batch.results for at in indices[keys[place]]]
            yield self._count(replies, batch.stored)

    def _count(self, replies: list[tuple[int, Reply]], stored: bool) -> list[tuple[int, Reply]]:
        failed = sum(isinstance(reply, Failure) for _, reply in replies)
        self.work = replace(
            self.work,
            done=self.work.done + len(replies),
            stored=self.work.stored + (len(replies) if stored else 0),
            failed=self.work.failed + failed,
        )
        self._report()
        return replies

    def _report(self) -> None:
        # The ledger, not this inquiry, knows the cost: failed calls cost as well.
        self.desk.tell(replace(self.work, spent=self.engine.ledger.spent))
