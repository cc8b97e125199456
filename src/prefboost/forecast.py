"""Forecasts: what a verb will ask of models and compute on this machine, before it does so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from prefboost.progress import duration

__all__ = ["CallForecast", "Forecast", "RunForecast", "StageWork", "WorkKind", "describe_scoring"]


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

    def scale(self, ratio: float) -> CallForecast:
        """Scale what was counted on a sample to the whole."""
        counts = {name: value for name in _SUMMED if (value := getattr(self, name)) is not None}
        scaled = {name: value * ratio if "dollars" in name else round(value * ratio) for name, value in counts.items()}
        return replace(self, **scaled)

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
        # Texts that are only read, and choices whose probabilities are, write nothing.
        writes = f", {likely}at most {self.most_tokens:,} to write" if self.most_tokens else ""
        yield f"{about}{self.prompt_tokens:,} tokens to read{writes}"
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
        at_most: of a training: pairs, steps and tokens are those of the most pairs that there can be.
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
    at_most: bool = False

    def __add__(self, other: Forecast) -> Forecast:
        """Add work that is done one after the other: the larger memory is what both take."""

        def add(name: str) -> dict[str, Any]:
            ours, theirs = getattr(self, name), getattr(other, name)
            return {key: ours.get(key, 0) + theirs.get(key, 0) for key in {**ours, **theirs}}

        def join(name: str) -> list[str]:
            return list(dict.fromkeys([*getattr(self, name), *getattr(other, name)]))

        summed: dict[str, Any] = {name: add(name) for name in ("counts", "tokens", "seconds", "rejected")}
        joined: dict[str, Any] = {name: join(name) for name in ("losses", "guesses", "remarks")}
        return Forecast(
            total=self.total + other.total,
            engine=self.engine or other.engine,
            device=self.device or other.device,
            memory=max(self.memory, other.memory, key=lambda memory: sum(memory.values())),
            at_most=self.at_most or other.at_most,
            **summed,
            **joined,
        )

    def scale(self, ratio: float) -> Forecast:
        """Scale what was counted on a sample to the whole; the headline stays, and so does memory."""
        counts: dict[str, Any] = {
            name: {key: round(value * ratio) for key, value in getattr(self, name).items()}
            for name in ("counts", "tokens", "rejected")
        }
        seconds = {name: value * ratio for name, value in self.seconds.items()}
        return replace(self, total=self.total.scale(ratio), seconds=seconds, **counts)

    def describe(self) -> str:
        """Describe the work in one line: what is made, calls, tokens and time."""
        phrases = [self.headline]
        if self.total.calls or self.total.stored:
            phrases += self.total.phrases()
        if self.tokens:
            bound = "at most " if self.at_most else ""
            phrases.append(f"{bound}{self.tokens['packed']:,} tokens to train on")
        if self.seconds:
            phrases.append(f"about {duration(sum(self.seconds.values()))} on {self.device}")
        return ", ".join(filter(None, phrases))

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


def describe_scoring(counts: Mapping[str, int]) -> str:
    """Describe what a scorer or judge does, from its counts: ``rows``, ``questions``, and ``texts`` it reads itself."""
    if counts["questions"]:
        return f"{counts['questions']:,} questions about {counts['rows']:,} rows"
    texts = f", {counts['texts']:,} texts to read" if counts.get("texts") else ""
    return f"{counts['rows']:,} rows{texts}, computed on this machine: nothing is asked"


WorkKind = Literal["completions", "scores", "training"]
StageWork = Mapping[WorkKind, Forecast]
"""Kind of work that a stage of a recipe does -> its forecast."""

_HEADLINES: Mapping[WorkKind, Callable[[Mapping[str, int]], str]] = {
    "completions": lambda counts: f"{counts['rows']:,} completions",
    "scores": describe_scoring,
    "training": lambda counts: f"{counts['pairs']:,} pairs, {counts['steps']:,} steps",
}
"""Kind of work -> headline of a sum over stages."""


@dataclass(frozen=True)
class RunForecast:
    """Forecast of a recipe, as ``prefboost run --dry-run`` prints it below the list of stages.

    Args:
        stages: stage that is to be done -> its work; stages that only rearrange data have none. Those named
            ``ROUND/WHAT`` belong to a round, or to one of several models.
        unknown: why nothing is forecast.
    """

    stages: Mapping[str, StageWork] = field(default_factory=dict)
    unknown: str = ""

    def group_stages(self) -> dict[str, list[StageWork]]:
        """Group the stages by round, where one has several; all of them stand last, under no name."""
        groups: dict[str, list[StageWork]] = {}
        for stage, work in self.stages.items():
            if "/" in stage:
                groups.setdefault(stage.partition("/")[0], []).append(work)
        several = {name: works for name, works in groups.items() if len(works) > 1}
        return {**several, "": list(self.stages.values())}

    @property
    def rounds(self) -> dict[str, StageWork]:
        """Sums over the stages of a round, where it has several."""
        return {name: _sum_work(works) for name, works in self.group_stages().items() if name}

    @property
    def total(self) -> StageWork:
        """Sums over all stages."""
        return _sum_work(self.stages.values())

    def record(self) -> dict[str, Any]:
        """Return JSON values: by stage, by round, and of all stages."""

        def list_work(work: StageWork) -> dict[str, Any]:
            return {kind: forecast.record() for kind, forecast in work.items()}

        return {
            "stages": {stage: list_work(work) for stage, work in self.stages.items()},
            "rounds": {name: list_work(work) for name, work in self.rounds.items()},
            "total": list_work(self.total),
            "unknown": self.unknown,
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of a dry run."""
        if self.unknown:
            yield f"cost: not known, since {self.unknown}"
        rounds, total = self.rounds, self.total
        for stage, work in self.stages.items():
            yield f"{stage}: {_describe_work(work)}"
            name = stage.partition("/")[0]
            if name in rounds and stage == [each for each in self.stages if each.startswith(f"{name}/")][-1]:
                yield f"{name} in all: {_describe_work(rounds[name])}"
        if len(self.stages) > 1:
            yield f"in all: {_describe_work(total)}"
        # What each kind of work assumes stands once, however many rounds there are.
        for forecast in total.values():
            yield from replace(forecast, total=CallForecast(), tokens={}, seconds={}, headline="").lines()


def _describe_work(work: StageWork) -> str:
    return "; ".join(forecast.describe() for forecast in work.values())


def _sum_work(works: Iterable[StageWork]) -> StageWork:
    sums: dict[WorkKind, Forecast] = {}
    for work in works:
        for kind, forecast in work.items():
            sums[kind] = sums[kind] + forecast if kind in sums else forecast
    bounds = {kind: "at most " if forecast.at_most else "" for kind, forecast in sums.items()}
    return {
        kind: replace(forecast, headline=f"{bounds[kind]}{_HEADLINES[kind](forecast.counts)}", parts=())
        for kind, forecast in sums.items()
    }
