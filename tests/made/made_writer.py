"""An engine for tests of synthesis: writes by a function of prompt and sample, weighs choices by another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, PrivateAttr
from scripted_engine import RendersJson

from prefboost.engines.budget import Ledger
from prefboost.engines.engine import Request, Result, Sampling
from prefboost.settings import Settings

Say = Callable[[str, int], str]
Weigh = Callable[[str, Sequence[str]], Sequence[float]]

TEXT = "the river runs past old stone houses while birds sing above green fields and children play near water"
WORDS = TEXT.split()


def by_hash(prompt: str, sample: int) -> str:
    """Twelve words that depend on the prompt and the sample's number."""
    digest = hashlib.sha256(f"{prompt}\0{sample}".encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[:12])


def first_wins(prompt: str, choices: Sequence[str]) -> Sequence[float]:
    """log P = 0.8 for the first choice, whatever stands in the prompt."""
    return [-0.22, *[-1.61 for _ in choices[1:]]]


class Writer(Settings):
    """Settings; the engine is made once, so that tests can look at what it was asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["made_writer:Writer"] = "made_writer:Writer"
    model: str = "writer"
    remote: bool = False
    _engine: Any = PrivateAttr(None)

    @classmethod
    def by(cls, say: Say = by_hash, weigh: Weigh = first_wins, **changes: Any) -> Writer:
        made = cls(**changes)
        made._engine = WriterEngine(made, say, weigh)
        return made

    @property
    def asked(self) -> list[Request]:
        return self.open().asked  # type: ignore[no-any-return]

    @property
    def prompts(self) -> list[str]:
        return [str(request.prompt[-1]["content"]) for request in self.asked]

    def open(self) -> Any:
        if self._engine is None:
            self._engine = WriterEngine(self, by_hash, first_wins)
        return self._engine


class WriterEngine(RendersJson):
    """Batches of two; "<cut>" at the end of a text stands for a completion that was cut."""

    says_goals = False
    context = 10_000

    def __init__(self, settings: Writer, say: Say, weigh: Weigh) -> None:
        self.settings = settings
        self.identity = settings.model
        self.remote = settings.remote
        self.ledger = Ledger()
        self.say = say
        self.weigh = weigh
        self.asked: list[Request] = []

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        return [sum(len(str(m["content"]).split()) for m in request.prompt) for request in requests]

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        return [list(range(at, min(at + 2, len(requests)))) for at in range(0, len(requests), 2)]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Any]]:
        requests = list(requests)
        for index, request in enumerate(requests):
            self.asked.append(request)
            text = self.say(str(request.prompt[-1]["content"]), request.sample)
            cut = text.endswith("<cut>")
            text = text.removesuffix("<cut>")
            tokens = self.prompt_tokens([request])[0]
            yield index, Result(text, "length" if cut else "stop", tokens, len(text.split()))

    def logprobs_of(self, requests: Iterable[Request], choices: Sequence[str]) -> Iterator[tuple[int, Any]]:
        for index, request in enumerate(requests):
            self.asked.append(request)
            yield index, tuple(self.weigh(str(request.prompt[-1]["content"]), choices))

    def logprob_of(self, requests: Sequence[Request], completions: Sequence[Any]) -> list[float]:
        return [-float(len(str(completion[0]["content"]))) / (1 + at) for at, completion in enumerate(completions)]


class LengthScorer(Settings):
    """Scores completions, and both sides of pairs, by their words."""

    kind: Literal["made_writer:LengthScorer"] = "made_writer:LengthScorer"
    model: str = "length"

    def score(self, table: Any) -> Any:
        import polars as pl

        from prefboost.tables import PREFERENCE_PAIRS, SCORED_COMPLETIONS, Step

        pairs = table.spec is PREFERENCE_PAIRS
        sides = {"chosen": "score_chosen", "rejected": "score_rejected"} if pairs else {"completion": "score"}
        words = [
            pl.Series(name, [float(len(said[0]["content"].split())) for said in table.frame[side]], dtype=pl.Float64)
            for side, name in sides.items()
        ]
        step = Step("score", {}, len(table), len(table))
        return table.derive(table.spec if pairs else SCORED_COMPLETIONS, table.frame.with_columns(*words), step)
