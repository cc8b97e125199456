"""Answers of an engine to a rater or judge: in words, or as shares of choices from their log-probs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.engines.ask import ChoiceLogprobs, Inquiry, InWords, Reading, Reply, Unasked
from prefboost.engines.budget import describe_spent_budget
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine, Failure, Request, Result, Sampling
from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.sightings import Watch
from prefboost.errors import ModelError, RunError
from prefboost.progress import WorkProgress

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
    """An answer in words, or the reason why there is none.

    Args:
        text: the answer.
        fault: why it cannot be used; None where it can.
    """

    text: str
    fault: str | None = None


@dataclass(frozen=True)
class Shares:
    """Probabilities of the choices as the answer.

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
    """Questions to an engine that have not been asked yet.

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
    def reading(self) -> Reading:
        """What is read of the engine."""
        return InWords(self.sampling) if self.choices is None else ChoiceLogprobs(tuple(self.choices))

    @property
    def most_tokens(self) -> int:
        """Greatest length of an answer in tokens; log-probs take one."""
        return self.reading.max_tokens

    def list_queries(self, engine: Engine) -> list[StoreQuery]:
        """List the rows of the store that hold the answers."""
        return [self.reading.describe(engine, request) for request in self.requests]


@dataclass(frozen=True)
class Asking:
    """Questions of a rater or judge to an engine; see `prefboost.engines.ask`.

    Args:
        engine: the model; its ledger holds it to a budget.
        sampling: sampling of answers in words.
        session: store and progress.
    """

    engine: Engine
    sampling: Sampling
    session: CallSession = field(default_factory=CallSession)

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask for an answer in words to every request; see `stream_answers`."""
        answers = dict(self.stream_answers([requests], len(requests)))
        return [answers[index] for index in range(len(requests))]

    def stream_answers(self, pieces: Iterable[Sequence[Request]], total: int) -> Iterator[tuple[int, Answer]]:
        """Ask for an answer in words to every request.

        Args:
            pieces: requests, drawn piece by piece.
            total: of all pieces.

        Yields:
            (index of the request over all pieces, answer), as they come.

        Raises:
            RunError: the budget is too small for all questions; answers that came stay in the store.
        """
        for index, reply in self._ask(pieces, total, InWords(self.sampling)):
            yield index, _read_answer(reply)

    def shares(self, requests: Sequence[Request], choices: Sequence[str], min_mass: float = MIN_MASS) -> list[Shares]:
        """Ask how likely each choice is as the beginning of the answer; see `stream_shares`."""
        shares = dict(self.stream_shares([requests], len(requests), choices, min_mass))
        return [shares[index] for index in range(len(requests))]

    def stream_shares(
        self, pieces: Iterable[Sequence[Request]], total: int, choices: Sequence[str], min_mass: float = MIN_MASS
    ) -> Iterator[tuple[int, Shares]]:
        """Ask how likely each choice is as the beginning of the answer.

        Args:
            pieces: prompts that end where one of the choices is to be said, drawn piece by piece.
            total: of all pieces.
            choices: short texts that begin with different tokens.
            min_mass: least probability of all choices together; shares of less are a fault.

        Yields:
            see `stream_answers`.

        Raises:
            ModelError: the engine gives no log-probs of choices.
            RunError: see `stream_answers`.
        """
        if getattr(self.engine, "logprobs_of", None) is None:
            raise ModelError(
                f"the engine {self.engine.identity} gives no log-probs of choices",
                remedy="set read: answer, or use an engine that returns them",
            )
        for index, reply in self._ask(pieces, total, ChoiceLogprobs(tuple(choices))):
            yield index, normalise_shares(reply, min_mass)

    def _ask(self, pieces: Iterable[Sequence[Request]], total: int, reading: Reading) -> Iterator[tuple[int, Reply]]:
        """Yield a reply to every request.

        Raises:
            RunError: some are missing in the end.
        """
        store = self.session.store if self.engine.remote else None
        watch = None if store is None else Watch(self.engine, store)
        inquiry = Inquiry(self.engine, self.session, WorkProgress("answers", total), watch=watch, too_long=TOO_LONG)
        count = 0
        for batch in inquiry.ask_pieces(pieces, reading):
            count += len(batch)
            yield from batch
        if count < total and self.engine.ledger.exhausted:
            raise describe_spent_budget(self.engine.ledger, count, total)
        if count < total:
            raise RunError(f"the engine gave {count} of {total} answers", remedy="run the same command again")


def _read_answer(reply: Reply) -> Answer:
    if isinstance(reply, Unasked):
        return Answer(reply.detail, reply.reason)
    if isinstance(reply, Failure):
        return Answer(reply.reason, FAILED)
    assert isinstance(reply, Result)
    # What the thoughts end with shows a reader why there is no answer.
    thoughts = f"thoughts: …{reply.reasoning[-200:]}" if reply.reasoning else ""
    if reply.finish_reason == "length":
        return Answer(reply.text or thoughts, CUT)
    return Answer(thoughts, THINKS) if reply.only_thinks else Answer(reply.text)


def normalise_shares(reply: Reply, min_mass: float = MIN_MASS) -> Shares:
    """Scale the probabilities of choices so that they sum to 1.

    Args:
        reply: log-probs of the choices, in nats; or why there are none.
        min_mass: least probability of all choices together; shares of less are a fault.
    """
    if isinstance(reply, Unasked):
        return Shares(fault=reply.reason, found=reply.detail)
    if isinstance(reply, Failure):
        return Shares(fault=FAILED, found=reply.reason)
    assert isinstance(reply, tuple)
    # Servers round the log-prob of a certain token to a little above 0.
    weights = [math.nan if math.isnan(logprob) else math.exp(min(logprob, 0.0)) for logprob in reply]
    mass = math.fsum(weights)
    # Not `mass <= 0`: NaN is refused as well.
    if not mass > 0:
        return Shares(fault=UNLIKELY)
    if mass < min_mass:
        return Shares(mass=mass, fault=LITTLE, found=f"probability of all choices together {mass:.2g} < {min_mass:g}")
    return Shares([weight / mass for weight in weights], mass)
