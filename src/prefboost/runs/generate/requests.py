"""From a table of prompts to the rows that are asked for; one odd prompt stops nobody else's completion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prefboost.engines.engine import Engine, Request
from prefboost.engines.goal_requests import Ask, asker
from prefboost.errors import DataError, ModelError, PrefboostError
from prefboost.runs.generate.settings import Generate
from prefboost.tables import PROMPTS, REJECTS, Table, reject_faulty, reject_where

__all__ = ["CompletionRequest", "split_renderable", "prepare_prompts", "list_requests"]


@dataclass(frozen=True)
class CompletionRequest:
    """One completion that is wanted: where its prompt stands in the frame, and what is asked for."""

    prompt: int
    goal: float | None
    request: Request
    aspects: Mapping[str, float] = field(default_factory=dict)


def prepare_prompts(prompts: Table, settings: Generate, engine: Engine) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split prompts into those that can be completed, once each, and rejects."""
    frame, rejects = split_renderable(prompts, settings, engine)
    if engine.context is None or frame.is_empty():
        return frame, rejects
    # A prompt must leave room for a completion under each of the goals.
    rows = list_requests(frame, settings, engine, samples=1)
    longest = [0] * frame.height
    for row, length in zip(rows, engine.prompt_tokens([row.request for row in rows]), strict=True):
        longest[row.prompt] = max(longest[row.prompt], length)
    fitting, too_long = reject_where(
        frame.with_columns(_tokens=pl.Series(longest, dtype=pl.Int64)),
        pl.col("_tokens") > engine.context - settings.sampling.max_tokens,
        stage="generate",
        reason="the prompt and max_tokens exceed the model's context",
        path=prompts.path,
        value=pl.format("{} tokens", "_tokens"),
    )
    return fitting.drop("_tokens"), pl.concat([rejects, too_long])


def _drop_repeated(prompts: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take prompts once each and reject repeated ones; tables of completions repeat prompts by their nature."""
    columns = [
        name for name in ("row", "prompt_id", "prompt", "rules", "source", "split") if name in prompts.frame.columns
    ]
    frame = prompts.frame.select(columns)
    if frame["prompt_id"].is_unique().all():
        return frame, pl.DataFrame(schema=REJECTS)
    texts = pl.Series("_text", [json.dumps(prompt) for prompt in frame["prompt"].to_list()], pl.String)
    # Completions are named by the prompt's id, so another prompt under a used id cannot be completed beside the first.
    other = pl.col("_text") != pl.col("_text").first().over("prompt_id")
    last = pl.col("prompt").list.last().struct.field("content")
    frame, others = reject_where(
        frame.with_columns(texts), other, stage="generate", reason="another prompt with the same id stands further up",
        path=prompts.path, value=pl.format("{}: {}", "prompt_id", last.str.slice(0, 120)),
    )  # fmt: skip
    frame = frame.drop("_text")
    again = ~pl.col("prompt_id").is_first_distinct()
    if prompts.spec.name != PROMPTS.name:
        return frame.filter(~again), others
    frame, repeated = reject_where(
        frame, again, stage="generate", reason="the prompt stands further up too", path=prompts.path
    )
    return frame, pl.concat([others, repeated])


def split_renderable(prompts: Table, settings: Generate, engine: Engine) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split prompts into those that can be rendered, once each, and rejects: an odd prompt stops no other one."""
    frame, rejects = _drop_repeated(prompts)
    ask = asker(engine, settings.condition, silent=settings.silent)
    refused = [_find_refusal(prompt, settings, ask, engine) for prompt in frame["prompt"].to_list()]
    # Reason by reason, so that the order of the rejects does not depend on which prompt comes first.
    faults = {at: fault for why in _REFUSALS.values() for at, fault in enumerate(refused) if fault and fault[0] == why}
    frame, refusals = reject_faulty(frame, faults, stage="generate", path=prompts.path)
    return frame, pl.concat([rejects, refusals])


_REFUSALS: dict[type[PrefboostError], str] = {
    ModelError: "the chat template refuses the prompt",
    DataError: "the goal cannot be said in the prompt",
}
"""Error raised over a single prompt -> reason of the reject."""


def _find_refusal(prompt: Any, settings: Generate, ask: Ask, engine: Engine) -> tuple[str, str] | None:
    """Return why a prompt cannot be rendered, and its fault; None where it can."""
    try:
        for goal, aspects in settings.asked:
            engine.render(ask(prompt, goal, 0, aspects))
    except tuple(_REFUSALS) as error:
        return next(why for kind, why in _REFUSALS.items() if isinstance(error, kind)), error.message
    return None


def list_requests(
    frame: pl.DataFrame, settings: Generate, engine: Engine, samples: int | None = None
) -> list[CompletionRequest]:
    """List the requests: every prompt of a frame, for every goal, so many samples (default: ``n``)."""
    ask = asker(engine, settings.condition, silent=settings.silent)
    return [
        CompletionRequest(at, goal, ask(prompt, goal, sample, aspects), aspects)
        for at, prompt in enumerate(frame["prompt"].to_list())
        for goal, aspects in settings.asked
        for sample in range(samples or settings.n)
    ]
