"""An engine that answers by a function of the prompt, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, PrivateAttr

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Request, Result, Sampling
from prefboost.settings import Settings

Say = Callable[[str], str]
Weigh = Callable[[str, Sequence[str]], Sequence[float]]


class Scripted(Settings):
    """Settings of the engine; ``engine`` is made once, so that tests can look at what it was asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    kind: Literal["scripted"] = "scripted"
    name: str = "scripted"
    _engine: Any = PrivateAttr(None)

    @classmethod
    def by(cls, say: Say | None = None, weigh: Weigh | None = None, **changes: Any) -> Scripted:
        made = cls(**changes)
        made._engine = ScriptedEngine(made.name, say, weigh) if weigh else WordyEngine(made.name, say)
        return made

    @property
    def asked(self) -> list[Request]:
        return self._engine.asked  # type: ignore[no-any-return]

    @property
    def prompts(self) -> list[str]:
        return [str(request.prompt[-1]["content"]) for request in self.asked]

    def open(self) -> Any:
        return self._engine


class RendersJson:
    """Renders messages as their JSON."""

    def render(self, request: Request) -> str:
        return json.dumps([dict(message) for message in request.prompt])

    def render_conversation(self, messages: Any) -> str:
        return self.render(Request(messages))


class WordyEngine(RendersJson):
    """Answers in words, one batch of two at a time."""

    says_goals = False
    context: int | None = None
    remote = False

    def __init__(self, name: str, say: Say | None) -> None:
        self.identity = name
        self.say = say
        self.ledger = Ledger()
        self.asked: list[Request] = []

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        return [len(self.render(request).split()) for request in requests]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        order = list(range(len(requests)))
        return [order[at : at + 2] for at in range(0, len(order), 2)]

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Iterator[tuple[int, Any]]:
        assert self.say is not None
        for index, request in enumerate(requests):
            self.asked.append(request)
            text = self.say(str(request.prompt[-1]["content"]))
            cut = text.endswith("<cut>")
            yield index, Result(text.removesuffix("<cut>"), "length" if cut else "stop", 1, 1)

    def logprob_of(self, requests: Sequence[Request], completions: Any) -> list[float]:
        raise NotImplementedError


class ScriptedEngine(WordyEngine):
    """Gives log-probs of choices too."""

    def __init__(self, name: str, say: Say | None, weigh: Weigh) -> None:
        super().__init__(name, say)
        self.weigh = weigh

    def logprobs_of(self, requests: Sequence[Request], choices: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for index, request in enumerate(requests):
            self.asked.append(request)
            yield index, tuple(self.weigh(str(request.prompt[-1]["content"]), choices))
