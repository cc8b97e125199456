"""Count what a method would ask for, without asking: the same code runs, and nobody answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.engines.budget import Price
from prefboost.engines.engine import Engine, Outcome, Request, Result, Sampling
from prefboost.engines.kinds import EngineSettings
from prefboost.scoring.scorer import Scorer
from prefboost.synthesis.calls import Choices, model_name
from prefboost.tables import SCORED_COMPLETIONS, Step, Table

__all__ = ["Count", "CallRehearsal"]


@dataclass
class Count:
    """The requests of one stage.

    Args:
        calls: rows that would be asked for.
        prompt_tokens: tokens that would be read; where a prompt holds a completion that is not written yet, it counts
            as ``max_tokens`` long.
        most_tokens: tokens that are written if no completion ends before ``max_tokens``.
        dollars: at most; None: the price table does not name the model.
        estimated: the model's server counts tokens, so that these are estimates.
    """

    calls: int = 0
    prompt_tokens: int = 0
    most_tokens: int = 0
    dollars: float | None = 0.0
    estimated: bool = False


@dataclass
class CallRehearsal:
    """Counts what is asked for, and answers with as many words as a completion may have.

    Args:
        prices: model -> price.
        counts: stage -> what it would take.
        texts_scored: texts that a scorer would see.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)
    texts_scored: int = 0
    _engines: dict[str, Engine] = field(default_factory=dict)

    def completions(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], sampling: Sampling
    ) -> list[Outcome | None]:
        """Count the requests, and answer each with ``max_tokens`` words (see `synthesis.calls.ModelCalls`)."""
        self._count(stage, engine, requests, sampling.max_tokens)
        # The longest answers there can be, since later prompts hold them: the estimate is an upper bound.
        words = " word" * (sampling.max_tokens - 1)
        return [Result(f"{at}{words}", "stop", 0, sampling.max_tokens) for at in range(len(requests))]

    def choices(
        self, stage: str, engine: EngineSettings, requests: Sequence[Request], choices: Sequence[str]
    ) -> list[Choices]:
        """Count the requests, and prefer the first choice (see `prefboost.synthesis.calls.ModelCalls`)."""
        self._count(stage, engine, requests, 0)
        return [tuple(-1.0 - at for at in range(len(choices))) for _ in requests]

    def likelihoods(self, engine: EngineSettings, requests: Sequence[Request], texts: Sequence[str]) -> list[float]:
        """Count the texts, and find all equally likely (see `prefboost.synthesis.calls.ModelCalls`)."""
        self.texts_scored += len(texts)
        return [-1.0 for _ in texts]

    def score(self, scorer: Scorer, table: Table) -> Table:
        """Count the texts, and score each by its row's number (see `prefboost.synthesis.calls.ModelCalls`)."""
        self.texts_scored += len(table)
        frame = table.frame.with_columns(score=pl.int_range(pl.len()).cast(pl.Float64))
        return table.derive(SCORED_COMPLETIONS, frame, Step("score", {}, len(table), len(table)))

    def _count(self, stage: str, settings: EngineSettings, requests: Sequence[Request], most: int) -> None:
        engine = self._engines.setdefault(repr(settings), settings.open())
        price: Any = self.prices.get(model_name(settings))
        count = self.counts.setdefault(stage, Count(dollars=None if price is None else 0.0))
        read, written = sum(engine.prompt_tokens(requests)), most * len(requests)
        count.calls += len(requests)
        count.prompt_tokens += read
        count.most_tokens += written
        count.estimated = count.estimated or engine.remote
        if price is not None and count.dollars is not None:
            count.dollars += price.dollars(read, written)
