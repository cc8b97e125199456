"""What a rater or judge is told: answers of an engine, and log-probs of choices, asked once and kept on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prefboost.engines.engine import Engine, Request, Result, Sampling
from prefboost.errors import ModelError
from prefboost.scoring.stored import Numbers, ScoreJournal, ScoreProgress, Tell

__all__ = ["Answer", "Asking", "Shares"]

CUT = "the answer was cut at max_tokens"
FAILED = "the engine gave no answer"
UNLIKELY = "none of the choices is among the model's likely answers"


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
    """

    of: list[float] = field(default_factory=list)
    mass: float = 0.0
    fault: str | None = None


@dataclass(frozen=True)
class Asking:
    """One round of questions to an engine. The same question is asked once; failed ones are asked again next time.

    Args:
        engine: who is asked.
        sampling: for answers in words.
        journal: holds what an earlier call was told, and gets every finished batch; None keeps nothing.
        tell: is told how far it is.
    """

    engine: Engine
    sampling: Sampling
    journal: ScoreJournal | None = None
    tell: Tell = lambda _: None

    def answers(self, requests: Sequence[Request]) -> list[Answer]:
        """An answer in words to every request."""
        settings = self.sampling.model_dump()
        keys = [self._key(request, settings, request.sample, request.json_schema) for request in requests]
        plan = self.engine.plan([requests[index] for index in _first_places(keys)], self.sampling)
        found = self._asked(keys, plan, lambda wanted: self._told([requests[index] for index in wanted]))
        return [_answer(found[key]) for key in keys]

    def shares(self, requests: Sequence[Request], choices: Sequence[str]) -> list[Shares]:
        """How likely each choice is as the next thing that is said.

        Args:
            requests: prompts that end where one of the choices is to be said.
            choices: short texts that begin with different tokens.

        Raises:
            ModelError: the engine gives no log-probs of choices.
        """
        ask = getattr(self.engine, "logprobs_of", None)
        if ask is None:
            raise ModelError(
                f"the engine {self.engine.identity} gives no log-probs of choices",
                remedy="set read: answer, or take an engine that gives them",
            )
        keys = [self._key(request, list(choices)) for request in requests]

        def told(wanted: Sequence[int]) -> Iterator[tuple[int, Numbers | str]]:
            for at, outcome in ask([requests[index] for index in wanted], choices):
                yield at, Numbers(list(outcome)) if isinstance(outcome, (tuple, list)) else _reason(outcome)

        found = self._asked(keys, [list(range(len(set(keys))))] if keys else [], told)
        return [_shares(found[key]) for key in keys]

    def _told(self, requests: Sequence[Request]) -> Iterator[tuple[int, Numbers | str]]:
        outcomes: Iterator[tuple[int, Any]] = self.engine.generate(requests, self.sampling)
        for at, outcome in outcomes:
            if isinstance(outcome, Result):
                yield at, Numbers([], outcome.text, outcome.finish_reason == "length")
            else:
                yield at, _reason(outcome)

    def _asked(
        self,
        keys: Sequence[str],
        plan: Sequence[Sequence[int]],
        ask: Callable[[Sequence[int]], Iterator[tuple[int, Numbers | str]]],
    ) -> dict[str, Numbers | str]:
        """Key -> what came back, or why nothing did. The plan counts different keys, in order of their first places."""
        first = _first_places(keys)
        known = {} if self.journal is None else self.journal.known
        found: dict[str, Numbers | str] = {key: known[key] for key in keys if key in known}
        stored, one_by_one = len(found), getattr(self.engine, "remote", False)
        if one_by_one:  # a server is asked many things at once, and settles each by itself
            plan = [[at for batch in plan for at in batch]]
        self.tell(ScoreProgress("answers", len(first), len(found), stored))
        for batch in plan:
            wanted = [first[at] for at in batch if one_by_one is False or keys[first[at]] not in found]
            if all(keys[index] in found for index in wanted):
                continue
            fresh: list[tuple[str, Numbers]] = []
            for at, outcome in ask(wanted):
                key = keys[wanted[at]]
                found[key] = outcome
                fresh += [(key, outcome)] if isinstance(outcome, Numbers) else []
                if one_by_one:
                    fresh = self._kept(fresh)
                    self.tell(ScoreProgress("answers", len(first), len(found), stored))
            self._kept(fresh)
            self.tell(ScoreProgress("answers", len(first), len(found), stored))
        return {key: found.get(key, "the engine stopped before") for key in keys}

    def _kept(self, fresh: list[tuple[str, Numbers]]) -> list[tuple[str, Numbers]]:
        if self.journal is not None and fresh:
            self.journal.add(fresh)
        return []

    def _key(self, request: Request, *parts: Any) -> str:
        text = json.dumps([self.engine.identity, self.engine.rendered(request), *parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _first_places(keys: Sequence[str]) -> list[int]:
    places: dict[str, int] = {}
    for index, key in enumerate(keys):
        places.setdefault(key, index)
    return list(places.values())


def _reason(failure: Any) -> str:
    return str(getattr(failure, "reason", failure))


def _answer(outcome: Numbers | str) -> Answer:
    if isinstance(outcome, str):
        return Answer(outcome, FAILED)
    return Answer(outcome.text or "", CUT if outcome.cut else None)


def _shares(outcome: Numbers | str) -> Shares:
    if isinstance(outcome, str):
        return Shares(fault=FAILED)
    weights = [math.nan if math.isnan(value) else math.exp(min(value, 0.0)) for value in outcome.values]
    mass = math.fsum(weights)
    if not mass > 0:
        return Shares(fault=UNLIKELY)
    return Shares([weight / mass for weight in weights], mass)
