"""What a rater or judge is told: answers of an engine, and log-probs of choices, asked once and kept in a store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.engines.budget import describe_spent_budget
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.reuse import (
    Finished,
    generate_stored,
    generate_within_budget,
    logprobs_stored,
    query_completion,
    query_logprobs,
    weigh_within_budget,
)
from prefboost.engines.store.sightings import Watch
from prefboost.engines.store.store import Store, StoreQuery
from prefboost.errors import ModelError, RunError
from prefboost.progress import WorkProgress
from prefboost.scoring.stored import NOT_YET, Desk

__all__ = ["FAILED", "MIN_MASS", "Answer", "Asking", "Questions", "Shares", "normalise_shares"]

CUT = "the answer was cut at max_tokens"
FAILED = "the engine gave no answer"
TOO_LONG = "the question and max_tokens exceed the model's context"
UNLIKELY = "none of the choices is among the model's likely answers"
LITTLE = "the model would most likely say something else than any of the choices"
THINKS = "the answer is thoughts alone"

MIN_MASS = 0.1
"""Least probability of all choices together with which their shares say something.

A model that begins with its thoughts, a blank or a quotation mark leaves the choices a thousandth and less, and the
ratio of two such remainders is noise."""


@dataclass(frozen=True)
class Answer:
    """What came back in words.

    Args:
        text: the answer.
        fault: why it cannot be used; None where it can.
    """

    text: str
    fault: str | None = None


@dataclass(frozen=True)
class Shares:
    """How likely each choice is as the answer.

    Args:
        of: a probability a choice, summing to 1; empty where there is a fault.
        mass: probability of all choices together before they were made to sum to 1; little of it means that the model
            would have said something else.
        fault: why there are none.
        found: what was found in their place.
    """

    of: list[float] = field(default_factory=list)
    mass: float = 0.0
    fault: str | None = None
    found: str = ""


@dataclass(frozen=True)
class Questions:
    """What would be asked.

    Args:
        engine: settings of who is asked.
        requests: the questions.
        sampling: how answers are drawn.
        choices: whose log-probs are asked for; None: the answer in words is.
    """

    engine: Any
    requests: Sequence[Request]
    sampling: Sampling
    choices: Sequence[str] | None = None

    @property
    def most_tokens(self) -> int:
        """Tokens that an answer has at most; whoever gives log-probs writes one."""
        return self.sampling.max_tokens if self.choices is None else 1

    def list_queries(self, engine: Engine) -> list[StoreQuery]:
        """The rows of the store that hold the answers."""
        if self.choices is None:
            return [query_completion(engine, request, self.sampling) for request in self.requests]
        return [query_logprobs(engine, request, self.choices) for request in self.requests]


@dataclass(frozen=True)
class Asking:
    """One round of questions to an engine. The same question is asked once; failed ones are asked again next time.

    Args:
        engine: who is asked; its ledger holds it to a budget.
        sampling: for answers in words.
        desk: where answers are kept.
    """

    engine: Engine
    sampling: Sampling
    desk: Desk = field(default_factory=Desk)

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """An answer in words to every request.

        Raises:
            RunError: the budget does not allow all questions; answers that came stay in the store.
        """
        found = self._collect(
            requests,
            asked=lambda request: query_completion(self.engine, request, self.sampling),
            from_store=lambda wanted, store: generate_stored(self.engine, wanted, self.sampling, store),
            ask=lambda wanted: generate_within_budget(self.engine, wanted, self.sampling),
            most_tokens=self.sampling.max_tokens,
        )
        return [_answer(found[index]) for index in range(len(requests))]

    def shares(self, requests: Sequence[Request], choices: Sequence[str], min_mass: float = MIN_MASS) -> list[Shares]:
        """How likely each choice is as the next thing that is said.

        Args:
            requests: prompts that end where one of the choices is to be said.
            choices: short texts that begin with different tokens.
            min_mass: least probability of all choices together; shares of less are a fault.

        Raises:
            ModelError: the engine gives no log-probs of choices.
            RunError: see `answers`.
        """
        if getattr(self.engine, "logprobs_of", None) is None:
            raise ModelError(
                f"the engine {self.engine.identity} gives no log-probs of choices",
                remedy="set read: answer, or take an engine that gives them",
            )
        found = self._collect(
            requests,
            asked=lambda request: query_logprobs(self.engine, request, choices),
            from_store=lambda wanted, store: logprobs_stored(self.engine, wanted, choices, store),
            ask=lambda wanted: weigh_within_budget(self.engine, wanted, choices),
            most_tokens=1,
        )
        return [normalise_shares(found[index], min_mass) for index in range(len(requests))]

    def _collect(
        self,
        requests: Sequence[Request],
        *,
        asked: Callable[[Request], StoreQuery],
        from_store: Callable[[Sequence[Request], Store], Iterator[Finished[Any]]],
        ask: Callable[[Sequence[Request]], Iterator[tuple[int, Any]]],
        most_tokens: int,
    ) -> dict[int, Any]:
        """Index of the request -> what came back, or why nothing did."""
        places: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            places.setdefault(asked(request).key, []).append(index)
        found = self._find_too_long(places, requests, most_tokens)
        left = [key for key in places if key not in found]
        wanted = [requests[places[key][0]] for key in left]
        store = self.desk.store
        if store is not None and self.desk.partial:
            found |= _read_from_store(store, places, found)
        elif store is not None:
            self._gather(left, from_store(wanted, store), found, len(places))
        else:
            self._gather(left, (Finished([pair], stored=False) for pair in ask(wanted)), found, len(places))
        return {index: found[key] for key, indices in places.items() for index in indices}

    def _gather(
        self, keys: Sequence[str], batches: Iterable[Finished[Any]], found: dict[str, Any], questions: int
    ) -> None:
        """Take answers up as they come.

        Raises:
            RunError: some are missing in the end.
        """
        stored = 0
        store = self.desk.store if self.engine.remote else None
        watch = None if store is None else Watch(self.engine, store)
        self._tell(questions, len(found), 0)
        for batch in batches:
            if watch is not None and not batch.stored:
                watch.look()
            found.update((keys[index], outcome) for index, outcome in batch.results)
            stored += len(batch.results) if batch.stored else 0
            self._tell(questions, len(found), stored)
        if len(found) < questions and self.engine.ledger.exhausted:
            raise describe_spent_budget(self.engine.ledger, len(found), questions)
        if len(found) < questions:
            raise RunError(f"the engine gave {len(found)} of {questions} answers", remedy="run the same command again")

    def _tell(self, questions: int, done: int, stored: int) -> None:
        self.desk.tell(WorkProgress("answers", questions, done, stored, self.engine.ledger.spent))

    def _find_too_long(
        self, places: Mapping[str, Sequence[int]], requests: Sequence[Request], most_tokens: int
    ) -> dict[str, Any]:
        """Questions that the model cannot see whole."""
        limit = self.engine.context
        if limit is None:
            return {}
        lengths = self.engine.prompt_tokens([requests[indices[0]] for indices in places.values()])
        long = {key: length for key, length in zip(places, lengths, strict=True) if length + most_tokens > limit}
        return {
            key: Answer(f"{length:,} tokens and {most_tokens:,}, at most {limit:,}", TOO_LONG)
            for key, length in long.items()
        }


def _read_from_store(store: Store, keys: Iterable[str], found: Mapping[str, Any]) -> dict[str, Any]:
    """What the store holds of the other keys, and a fault for what it does not."""
    left = [key for key in keys if key not in found]
    known = store.find_answers(left)
    return {key: _read(known[key]) if key in known else Answer("", NOT_YET) for key in left}


def _read(stored: Any) -> Any:
    if isinstance(stored, Failure):
        return stored
    return tuple(stored["logprobs"]) if "logprobs" in stored else Result(**stored)


def _answer(outcome: Answer | Result | Failure) -> Answer:
    if isinstance(outcome, Answer):
        return outcome
    if isinstance(outcome, Failure):
        return Answer(outcome.reason, FAILED)
    if outcome.finish_reason == "length":
        return Answer(outcome.text or _tail(outcome), CUT)
    return Answer(_tail(outcome), THINKS) if outcome.only_thinks else Answer(outcome.text)


def _tail(outcome: Result) -> str:
    """The end of the thoughts, as what was found where there is no answer."""
    return f"thoughts: …{outcome.reasoning[-200:]}" if outcome.reasoning else ""


def normalise_shares(outcome: Answer | Failure | Sequence[float], min_mass: float = MIN_MASS) -> Shares:
    """Shares of choices from their log-probs, made to sum to 1.

    Args:
        outcome: log-probs, nats; or why there are none.
        min_mass: least probability of all choices together.
    """
    if isinstance(outcome, Answer):
        return Shares(fault=outcome.fault, found=outcome.text)
    if isinstance(outcome, Failure):
        return Shares(fault=FAILED, found=outcome.reason)
    weights = [math.nan if math.isnan(value) else math.exp(min(value, 0.0)) for value in outcome]
    mass = math.fsum(weights)
    if not mass > 0:
        return Shares(fault=UNLIKELY)
    if mass < min_mass:
        return Shares(mass=mass, fault=LITTLE, found=f"probability of all choices together {mass:.2g} < {min_mass:g}")
    return Shares([weight / mass for weight in weights], mass)
