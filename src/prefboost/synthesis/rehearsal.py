"""Count what a method would ask for, without asking: the same code runs, and nobody answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.engines.budget import Price
from prefboost.engines.engine import Engine, Outcome, Request, Result, Sampling
from prefboost.engines.kinds import EngineSettings
from prefboost.forecast import CallForecast
from prefboost.scoring.scorer import Scorer
from prefboost.synthesis.calls import Choices, model_name
from prefboost.tables import SCORED_COMPLETIONS, Step, Table

__all__ = ["CallRehearsal"]


@dataclass
class CallRehearsal:
    """Counts what is asked for, and answers with as many words as a completion may have.

    Args:
        prices: model -> price.
        counts: stage -> what it would take.
        texts_scored: texts that a scorer would see.
    """

    prices: Mapping[str, Price] = field(default_factory=dict)
    counts: dict[str, CallForecast] = field(default_factory=dict)
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
        # Where a prompt holds a completion that is not written yet, that counts as ``max_tokens`` long.
        read, written = sum(engine.prompt_tokens(requests)), most * len(requests)
        calls = CallForecast(
            stage,
            len(requests),
            prompt_tokens=read,
            most_tokens=written,
            most_dollars=None if price is None else price.dollars(read, written),
            estimated=engine.remote,
        )
        self.counts[stage] = self.counts.get(stage, CallForecast(stage)) + calls
