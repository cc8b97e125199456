"""From a table of prompts to the rows that are asked for; one odd prompt stops nobody else's completion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl

from prefboost.chat import format_number
from prefboost.engines.engine import Engine, Request
from prefboost.engines.goal_requests import Ask, asker
from prefboost.errors import DataError, ModelError, PrefboostError
from prefboost.runs.generate.settings import Generate
from prefboost.tables import PROMPTS, StoredRejects, Table, reject_where

__all__ = ["WantedCompletion", "cut_prompts", "list_requests", "list_wanted", "prepare_prompts", "split_renderable"]

_PIECE_REQUESTS = 5_000
"""Requests that are built at once; one takes some kilobytes of memory."""

_OTHER_PROMPT = "another prompt with the same id stands further up"
_REPEATED = "the prompt stands further up too"
_TOO_LONG = "the prompt and max_tokens exceed the model's context"

_REFUSALS: dict[type[PrefboostError], str] = {
    ModelError: "the chat template refuses the prompt",
    DataError: "the goal cannot be said in the prompt",
}
"""Error raised over a single prompt -> reason of the reject."""

_REASONS = [_OTHER_PROMPT, _REPEATED, *_REFUSALS.values(), _TOO_LONG]
"""Reasons of rejects, in their order, which depends on no prompt."""

_LEFT_OUT = len(_REASONS) + 1
"""Mark of a row whose prompt stands further up in a table that repeats prompts by its nature: it is no reject."""


_CARRIED = ("row", "prompt_id", "prompt", "rules", "source", "split")
"""Columns of prompts that completions carry on, where there are any."""

_DESCRIBE_PROMPT = pl.format(
    "{}: {}", "prompt_id", pl.col("prompt").list.last().struct.field("content").str.slice(0, 120)
)


@dataclass(frozen=True)
class WantedCompletion:
    """One of the completions that are wanted of every prompt.

    Args:
        goal: overall score that is asked for.
        aspects: scores of aspects that are asked for.
        sample: which of several with the same goals, from 0.
    """

    goal: float | None
    aspects: Mapping[str, float]
    sample: int

    @property
    def name(self) -> str:
        """Ending of the completion's id."""
        overall = [] if self.goal is None else [f"goal {format_number(self.goal, 6)}"]
        aspects = [f"{name} {format_number(value, 6)}" for name, value in sorted(self.aspects.items())]
        return "/".join([*overall, *aspects, str(self.sample)])


def list_wanted(settings: Generate, samples: int | None = None) -> list[WantedCompletion]:
    """List the completions that are wanted of every prompt: for every goal, so many samples (default: ``n``)."""
    return [
        WantedCompletion(goal, aspects, sample)
        for goal, aspects in settings.asked
        for sample in range(samples or settings.n)
    ]


def list_requests(frame: pl.DataFrame, settings: Generate, engine: Engine, samples: int | None = None) -> list[Request]:
    """List the requests for every prompt of a frame, prompt by prompt, in the order of `list_wanted`."""
    ask = asker(engine, settings.condition, silent=settings.silent)
    of_prompt = list_wanted(settings, samples)
    return [
        ask(prompt, each.goal, each.sample, each.aspects) for prompt in frame["prompt"].to_list() for each in of_prompt
    ]


def cut_prompts(prompts: Table, settings: Generate) -> Iterator[pl.DataFrame]:
    """Cut prompts into frames of some thousand requests each, in their order; at least one frame."""
    size = max(1, _PIECE_REQUESTS // len(list_wanted(settings)))
    for frame in prompts.read_frames():
        for start in range(0, max(1, frame.height), size):
            yield frame.slice(start, size)


def prepare_prompts(prompts: Table, settings: Generate, engine: Engine) -> tuple[Table, pl.DataFrame | StoredRejects]:
    """Split prompts into those that can be completed, once each, and rejects.

    Returns:
        the prompts with the columns that completions carry on, and the rejects.
    """
    return _PromptFilter(prompts, settings, engine).split(measured=True)


def split_renderable(prompts: Table, settings: Generate, engine: Engine) -> tuple[Table, pl.DataFrame | StoredRejects]:
    """Split prompts into those that can be rendered, once each, and rejects: an odd prompt stops no other one."""
    return _PromptFilter(prompts, settings, engine).split(measured=False)


class _PromptFilter:
    """Marks every prompt that cannot be completed with its reason, piece by piece, and then splits the table once."""

    def __init__(self, prompts: Table, settings: Generate, engine: Engine) -> None:
        self.prompts, self.settings, self.engine = prompts, settings, engine
        # 0: the prompt stays; k: it is rejected for `_REASONS[k - 1]`.
        self.marks = _mark_repeated(prompts)
        self.faults: dict[int, str] = {}

    def split(self, *, measured: bool) -> tuple[Table, pl.DataFrame | StoredRejects]:
        """Split the prompts; ``measured``: those that are too long for the engine are rejects too."""
        ask = asker(self.engine, self.settings.condition, silent=self.settings.silent)
        start = 0
        for frame in cut_prompts(self.prompts, self.settings):
            for at, prompt in enumerate(frame["prompt"].to_list(), start):
                fault = None if self.marks[at] else _find_refusal(prompt, self.settings, ask, self.engine)
                if fault is not None:
                    self._mark(at, *fault)
            if measured and self.engine.context is not None:
                # A prompt must leave room for a completion under each of the goals.
                limit = self.engine.context - self.settings.sampling.max_tokens
                places = [at for at in range(start, start + frame.height) if not self.marks[at]]
                requests = list_requests(frame[[at - start for at in places]], self.settings, self.engine, samples=1)
                lengths = iter(self.engine.prompt_tokens(requests) if requests else [])
                for at in places:
                    longest = max(islice(lengths, len(self.settings.asked)))
                    if longest > limit:
                        self._mark(at, _TOO_LONG, f"{longest} tokens")
            start += frame.height
        rows, rejects = self.prompts.split(self._split_frame, _REASONS)
        return self.prompts.replace_fields(frame=rows), rejects

    def _mark(self, at: int, reason: str, fault: str) -> None:
        self.marks[at] = 1 + _REASONS.index(reason)
        self.faults[at] = fault

    def _split_frame(self, frame: pl.DataFrame, start: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        places = range(start, start + frame.height)
        marks = pl.Series("_mark", self.marks[start : start + frame.height], dtype=pl.UInt8)
        faults = pl.Series("_found", [self.faults.get(at) for at in places], dtype=pl.String)
        carried = [name for name in _CARRIED if name in frame.columns]
        frame = frame.select(carried).with_columns(marks, faults).filter(pl.col("_mark") != _LEFT_OUT)
        rejects = []
        for mark, reason in enumerate(_REASONS, 1):
            value = _DESCRIBE_PROMPT if reason == _OTHER_PROMPT else pl.col("_found")
            frame, aside = reject_where(
                frame, pl.col("_mark") == mark, stage="generate", reason=reason, path=self.prompts.path, value=value
            )
            rejects.append(aside)
        return frame.select(carried), pl.concat(rejects)


def _mark_repeated(prompts: Table) -> bytearray:
    """Mark prompts that stand further up; tables of completions repeat prompts by their nature."""
    marks = bytearray(len(prompts))
    ids = prompts.read_columns(["prompt_id"])
    if ids["prompt_id"].is_unique().all():
        return marks
    # Digests, since texts of all prompts together would be in memory.
    digests = pl.Series(
        [
            int.from_bytes(hashlib.blake2b(json.dumps(prompt).encode(), digest_size=8).digest())
            for frame in prompts.read_frames(["prompt"])
            for prompt in frame["prompt"].to_list()
        ],
        dtype=pl.UInt64,
    )
    # Completions are named by the prompt's id, so another prompt under a used id cannot be completed beside the first.
    repeated = ids.with_columns(_digest=digests).select(
        again=~pl.col("prompt_id").is_first_distinct(),
        other=pl.col("_digest") != pl.col("_digest").first().over("prompt_id"),
    )
    again_mark = 1 + _REASONS.index(_REPEATED) if prompts.spec.name == PROMPTS.name else _LEFT_OUT
    for mark, name in ((again_mark, "again"), (1 + _REASONS.index(_OTHER_PROMPT), "other")):
        for at in repeated[name].arg_true():
            marks[at] = mark
    return marks


def _find_refusal(prompt: Any, settings: Generate, ask: Ask, engine: Engine) -> tuple[str, str] | None:
    """Return why a prompt cannot be rendered, and its fault; None where it can."""
    try:
        for goal, aspects in settings.asked:
            engine.render(ask(prompt, goal, 0, aspects))
    except tuple(_REFUSALS) as error:
        return next(why for kind, why in _REFUSALS.items() if isinstance(error, kind)), error.message
    return None
