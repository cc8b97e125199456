"""`generate`: prompts in, completions out, for several goals; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl
from pydantic import Field, field_validator

from prefboost.chat import SayGoal, format_number
from prefboost.engines.asking import Ask, asker
from prefboost.engines.engine import Engine, Request, Result, Sampling
from prefboost.engines.kinds import ENGINES, EngineSettings
from prefboost.engines.store import Finished, Journal, generate_stored
from prefboost.errors import DataError, ModelError, PrefboostError, RunError
from prefboost.settings import Settings, choice
from prefboost.sources.write import write
from prefboost.tables import COMPLETIONS, PROMPTS, REJECTS, Step, Table, reject_where

__all__ = ["Generate", "Planned", "Progress", "generate", "planned", "rejects_file", "write_rejects"]


class Generate(Settings):
    """Which completions are generated, by what."""

    engine: Annotated[EngineSettings, choice(ENGINES)] = Field(description="What completes the prompts.")
    sampling: Sampling = Field(Sampling(), description="How tokens are drawn.")
    n: int = Field(1, ge=1, description="Completions a prompt and goal.")
    goals: tuple[float, ...] = Field((), description="Scores to ask for; none: the model's default, nothing is passed.")
    condition: SayGoal = Field(
        SayGoal(), description="How a goal is said to a model whose chat template does not say it by itself."
    )

    @field_validator("goals")
    @classmethod
    def _no_goal_twice(cls, goals: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(goals)) < len(goals):
            raise ValueError(f"a goal stands twice in {list(goals)}; ask for more completions with n")
        return goals


@dataclass(frozen=True)
class Planned:
    """What would be generated.

    Args:
        prompts: prompts that can be completed.
        rows: completions.
        prompt_tokens: tokens of all their prompts.
        most_tokens: tokens that they have if none ends before ``max_tokens``.
        rejected: prompts set aside by whichever step, by reason.
    """

    prompts: int
    rows: int
    prompt_tokens: int
    most_tokens: int
    rejected: dict[str, int]


@dataclass(frozen=True)
class Progress:
    """How far a run is. ``stored`` of the ``done`` rows are from an earlier, interrupted call; ``tokens`` are new."""

    rows: int
    done: int = 0
    stored: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class _Row:
    """One completion that is wanted: where its prompt stands in the frame, and what is asked for."""

    prompt: int
    goal: float | None
    request: Request


def planned(prompts: Table, settings: Generate, *, engine: Engine | None = None) -> Planned:
    """What `generate` would do; loads a tokenizer, but no model.

    Args:
        prompts: any table with prompts.
        settings: what is to be generated.
        engine: an engine that is already open.
    """
    engine = engine or settings.engine.open()
    frame, rejects = _askable(prompts, settings, engine)
    lengths = engine.prompt_tokens([row.request for row in _rows(frame, settings, engine)])
    return Planned(
        prompts=frame.height,
        rows=len(lengths),
        prompt_tokens=sum(lengths),
        most_tokens=len(lengths) * settings.sampling.max_tokens,
        rejected=dict(Counter([*prompts.rejects["reason"], *rejects["reason"]])),
    )


def rejects_file(out: str | Path) -> Path:
    """Where the prompts stand that `generate` could not complete, beside its output: one row each, with the reason."""
    target = Path(out)
    return target.with_name(f"{target.name}.rejects.parquet")


def generate(
    prompts: Table,
    settings: Generate,
    out: str | Path | None = None,
    *,
    engine: Engine | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Table:
    """Complete prompts.

    Args:
        prompts: Prompts, or any table with prompts, of which each is completed once.
        settings: engine, sampling, number of completions and goals.
        out: ``.parquet`` or ``.jsonl`` file to write. While it is being made, ``OUT.journal`` holds what is finished:
            the same call after an interruption goes on from there, and its rows equal an uninterrupted run's. What was
            set aside, in reading the prompts or here, stands in `rejects_file`, which is absent where nothing was.
        engine: an engine that is already open, instead of ``settings.engine``.
        progress: called after every batch.

    Returns:
        Completions in the order of the prompts, goals and samples, with ``goal``, ``model``, ``finish_reason`` and
        ``tokens``; their prompts are those that were given, without the goal. Prompts that the chat template
        refuses, that cannot say a goal, are too long for the model or stand twice are rejects.

    Raises:
        ModelError: the model cannot be loaded, or its chat template has no place for goals.
        RunError: another process is writing the same output.
    """
    engine = engine or settings.engine.open()
    frame, rejects = _askable(prompts, settings, engine)
    frame, too_long = _fitting(frame, prompts.path, settings, engine)
    rejects = pl.concat([rejects, too_long])
    rows = _rows(frame, settings, engine)
    requests = [row.request for row in rows]
    if out is None:
        one_by_one = (Finished([pair], stored=False) for pair in engine.generate(requests, settings.sampling))
        results = _collected(len(rows), one_by_one, progress)
        return _table(prompts, frame, rejects, settings, list(zip(rows, results, strict=True)))
    target = Path(out)
    with Journal(target.with_name(f"{target.name}.journal")) as journal:
        results = _collected(len(rows), generate_stored(engine, requests, settings.sampling, journal), progress)
        table = write(_table(prompts, frame, rejects, settings, list(zip(rows, results, strict=True))), target)
        write_rejects(table.rejects, rejects_file(target))
        journal.delete()
    return table


def _collected(rows: int, batches: Iterable[Finished], progress: Callable[[Progress], None]) -> list[Result]:
    """The completions in the order of the requests."""
    results: dict[int, Result] = {}
    stored = tokens = 0
    progress(Progress(rows))
    for batch in batches:
        results.update(batch.results)
        stored += len(batch.results) if batch.stored else 0
        tokens += 0 if batch.stored else sum(result.tokens for _, result in batch.results)
        progress(Progress(rows, len(results), stored, tokens))
    if len(results) != rows:
        raise RunError(f"the engine gave {len(results)} of {rows} completions", remedy="run the same command again")
    return [results[index] for index in range(rows)]


def _usable(prompts: Table) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prompts once each, and repeated ones; tables of completions repeat prompts by their nature."""
    kept = [
        name for name in ("row", "prompt_id", "prompt", "rules", "source", "split") if name in prompts.frame.columns
    ]
    frame = prompts.frame.select(kept)
    again = ~pl.col("prompt_id").is_first_distinct()
    if prompts.spec.name != PROMPTS.name:
        return frame.filter(~again), pl.DataFrame(schema=REJECTS)
    return reject_where(frame, again, stage="generate", reason="the prompt stands further up too", path=prompts.path)


def _askable(prompts: Table, settings: Generate, engine: Engine) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prompts that can be asked, once each, and the others: one odd prompt stops nobody else's completion."""
    frame, rejects = _usable(prompts)
    ask = asker(engine, settings.condition)
    found = [_refusal(prompt, settings.goals, ask, engine) for prompt in frame["prompt"].to_list()]
    refusals = pl.DataFrame(found, schema={"_reason": pl.String, "_found": pl.String}, orient="row")
    frame = frame.hstack(refusals)
    for reason in _REFUSALS.values():
        frame, more = reject_where(
            frame, pl.col("_reason") == reason, stage="generate", reason=reason, path=prompts.path,
            found=pl.col("_found"),
        )  # fmt: skip
        rejects = pl.concat([rejects, more])
    return frame.drop("_reason", "_found"), rejects


_REFUSALS: dict[type[PrefboostError], str] = {
    ModelError: "the chat template refuses the prompt",
    DataError: "the goal cannot be said in the prompt",
}
"""What is raised over a single prompt, and the reason it is set aside for."""


def _refusal(prompt: Any, goals: Sequence[float], ask: Ask, engine: Engine) -> tuple[str | None, str | None]:
    """Why a prompt cannot be asked, and what was found; two None where it can."""
    try:
        for goal in goals or (None,):
            engine.rendered(ask(prompt, goal, 0))
    except tuple(_REFUSALS) as error:
        return next(why for kind, why in _REFUSALS.items() if isinstance(error, kind)), error.found
    return None, None


def write_rejects(rejects: pl.DataFrame, path: Path) -> None:
    """Write the rows that were set aside; where there are none, a file of an earlier call goes."""
    if rejects.is_empty():
        path.unlink(missing_ok=True)
        return
    waiting = path.with_name(f".{path.name}.partial")
    rejects.write_parquet(waiting)
    waiting.replace(path)


def _fitting(
    frame: pl.DataFrame, path: str | None, settings: Generate, engine: Engine
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prompts that leave room for a completion with every goal, and the others."""
    if engine.context is None or frame.is_empty():
        return frame, pl.DataFrame(schema=REJECTS)
    rows = _rows(frame, settings, engine, samples=1)
    lengths = engine.prompt_tokens([row.request for row in rows])
    longest = [0] * frame.height
    for row, length in zip(rows, lengths, strict=True):
        longest[row.prompt] = max(longest[row.prompt], length)
    room = engine.context - settings.sampling.max_tokens
    kept, rejects = reject_where(
        frame.with_columns(_tokens=pl.Series(longest, dtype=pl.Int64)),
        pl.col("_tokens") > room,
        stage="generate",
        reason="the prompt and max_tokens exceed the model's context",
        path=path,
        found=pl.format("{} tokens", "_tokens"),
    )
    return kept.drop("_tokens"), rejects


def _rows(frame: pl.DataFrame, settings: Generate, engine: Engine, samples: int | None = None) -> list[_Row]:
    ask = asker(engine, settings.condition)
    goals: Sequence[float | None] = settings.goals or (None,)
    return [
        _Row(at, goal, ask(prompt, goal, sample))
        for at, prompt in enumerate(frame["prompt"].to_list())
        for goal in goals
        for sample in range(samples or settings.n)
    ]


def _table(
    prompts: Table,
    frame: pl.DataFrame,
    rejects: pl.DataFrame,
    settings: Generate,
    completed: Sequence[tuple[_Row, Result]],
) -> Table:
    ids = frame["prompt_id"].to_list()
    new: dict[str, list[Any]] = {
        "completion_id": [_completion_id(ids[row.prompt], row) for row, _ in completed],
        "completion": [result.completion for _, result in completed],
        "goal": [row.goal for row, _ in completed],
        "finish_reason": [result.finish_reason for _, result in completed],
        "tokens": [result.tokens for _, result in completed],
    }
    types = {column.name: column.dtype for column in COMPLETIONS.columns}
    columns = [pl.Series(name, values, dtype=types[name]) for name, values in new.items()]
    model = getattr(settings.engine, "model", None) or getattr(settings.engine, "path", None)
    repeated = frame[[row.prompt for row, _ in completed]]
    made = repeated.with_columns(*columns, pl.lit(model, dtype=pl.String).alias("model"))
    step = Step(
        "generate",
        settings.model_dump(mode="json"),
        rows_in=len(prompts),
        rows_out=made.height,
        rejected=dict(Counter(rejects["reason"].to_list())),
        notes={
            "prompts": frame.height,
            "cut at max_tokens": sum(result.finish_reason == "length" for _, result in completed),
            "tokens": sum(result.tokens for _, result in completed),
        },
    )
    return prompts.then(COMPLETIONS, made, step, rejects=rejects, scales={})


def _completion_id(prompt_id: str, row: _Row) -> str:
    goal = [] if row.goal is None else [f"goal {format_number(row.goal, 6)}"]
    return "/".join([prompt_id, *goal, str(row.request.sample)])
