"""Forecasts: what a verb will ask of models and compute on this machine, before it does so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from prefboost.progress import duration

__all__ = ["CallForecast", "Forecast"]


@dataclass(frozen=True)
class CallForecast:
    """Calls of one model for one purpose, or the sum of several such forecasts.

    Args:
        name: whom or what for: a stage, a contestant; empty for the whole verb.
        calls: answers to ask for; equal questions count once, failed attempts come on top.
        stored: answers that a store holds; all else here counts the others.
        again: of the calls, those that failed or were refused in an earlier run.
        refused: of those stored, such as are not asked again although they have no answer.
        prompt_tokens: tokens to read, over all calls.
        likely_tokens: tokens that are likely written; None: nothing tells.
        most_tokens: tokens written if no answer ends before its limit.
        likely_dollars: price of ``prompt_tokens`` and ``likely_tokens``.
        most_dollars: price of ``prompt_tokens`` and ``most_tokens``; None: the price table does not name the model.
        estimated: the tokens of prompts are estimates: no tokenizer counts them, or they hold answers yet to come.
        note: why no calls are forecast, or what the forecast rests on.
    """

    name: str = ""
    calls: int = 0
    stored: int = 0
    again: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    likely_tokens: int | None = None
    most_tokens: int = 0
    likely_dollars: float | None = None
    most_dollars: float | None = None
    estimated: bool = False
    note: str = ""

    def __add__(self, other: CallForecast) -> CallForecast:
        def add(name: str) -> Any:
            amounts = [value for each in (self, other) if (value := getattr(each, name)) is not None]
            return sum(amounts) if amounts else None

        counts = {name: add(name) for name in _SUMMED}
        return CallForecast(self.name, **counts, estimated=self.estimated or other.estimated)

    def phrases(self) -> Iterator[str]:
        """Yield what is known besides the number of calls, in phrases."""
        about = "about " if self.estimated else ""
        likely = "" if self.likely_tokens is None else f"about {self.likely_tokens:,}, "
        if self.stored:
            yield f"{self.stored:,} more are in the store already"
        if self.refused:
            yield f"{self.refused:,} of them without an answer, and not asked again (--retry refused asks them)"
        if self.again:
            yield f"{self.again:,} of the calls failed or were refused before (--retry none leaves them)"
        yield f"{about}{self.prompt_tokens:,} tokens to read, {likely}at most {self.most_tokens:,} to write"
        if self.most_dollars:
            likely = "" if self.likely_dollars is None else f"about ${self.likely_dollars:,.2f}, "
            yield f"{likely}at most ${self.most_dollars:,.2f}"

    def describe(self) -> str:
        """Describe the calls in one line, without the name."""
        if self.note and not self.calls:
            return self.note
        return ", ".join([f"{self.calls:,} calls", *self.phrases()]) + (f" ({self.note})" if self.note else "")


_SUMMED = ("calls", "stored", "again", "refused", "prompt_tokens", "likely_tokens", "most_tokens", "likely_dollars",
           "most_dollars")  # fmt: skip


@dataclass(frozen=True)
class Forecast:
    """Forecast of a verb, as its ``--dry-run`` prints it.

    Args:
        headline: what the verb will make, in one line.
        counts: unit -> number of what it reads and makes, e.g. prompts and rows, or pairs and steps.
        total: calls of all models together.
        parts: the same by stage, or by contestant and judge; empty where there is but one.
        engine: of a training: packed, padded or trl.
        device: on which a training was timed.
        tokens: of a training: ``real`` (as if every sequence stood alone), ``packed`` (computed by the packed engine),
            ``padded`` (the same micro-batches padded to their longest sequence).
        seconds: ``reference`` (as if none of it were in the cache), ``training``; empty where nothing could be timed.
        memory: bytes per device: ``weights``, ``gradients``, ``optimizer``, ``activations``.
        rejected: reason -> rows left out.
        losses: what is cut or left out of the other rows, in sentences.
        guesses: what of this is not measured or counted, in sentences.
        remarks: what else is known, in sentences.
    """

    headline: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    total: CallForecast = CallForecast()
    parts: Sequence[CallForecast] = ()
    engine: str = ""
    device: str = ""
    tokens: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    losses: Sequence[str] = ()
    guesses: Sequence[str] = ()
    remarks: Sequence[str] = ()

    def record(self) -> dict[str, Any]:
        """Return JSON values: counts and the sum of calls stand beside the other fields."""
        fields = asdict(self)
        # The sum has no name of its own, and the headline is made of the counts.
        for name in ("headline", "counts", "total"):
            del fields[name]
        total = {name: getattr(self.total, name) for name in (*_SUMMED, "estimated")}
        return {**total, **self.counts, **fields}

    def lines(self) -> Iterator[str]:
        """Yield the lines of a dry run."""
        if self.headline:
            yield self.headline
        for part in self.parts:
            yield f"{part.name}: {part.describe()}"
        if len(self.parts) > 1:
            yield f"in all {self.total.describe()}"
        elif not self.parts and (self.total.calls or self.total.stored):
            # The headline has named the number of calls.
            yield from self.total.phrases()
        if self.tokens:
            computed, real, padded = (self.tokens[name] for name in ("packed", "real", "padded"))
            yield f"tokens: {computed:,} computed, {real:,} real, {padded:,} if they were padded"
        if self.seconds:
            parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in self.seconds.items())
            yield f"time:   about {duration(sum(self.seconds.values()))} on {self.device} ({parts})"
        if self.memory:
            parts = ", ".join(f"{name} {size / 2**30:.2f}" for name, size in self.memory.items())
            yield f"memory: about {sum(self.memory.values()) / 2**30:.2f} GiB ({parts})"
        yield from (f"guess:  {sentence}" for sentence in self.guesses)
        yield from (f"text lost: {sentence}" for sentence in self.losses)
        yield from (f"{count:,} rejected: {reason}" for reason, count in self.rejected.items())
        yield from self.remarks
