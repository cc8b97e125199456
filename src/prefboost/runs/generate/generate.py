"""`generate`: prompts in, completions out, for several goals; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from prefboost.engines.ask import Inquiry, InWords, Reply
from prefboost.engines.budget import Spending, describe_spent_budget, find_price
from prefboost.engines.desk import Desk
from prefboost.engines.engine import Engine, Failure, Outcome, Result
from prefboost.engines.patience import check_answered
from prefboost.engines.store.reuse import query_completion
from prefboost.engines.store.sightings import Watch
from prefboost.engines.store.store import Store, Stored
from prefboost.errors import RunError
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.generate.completions import build_completions
from prefboost.runs.generate.requests import CompletionRequest, list_requests, prepare_prompts, split_renderable
from prefboost.runs.generate.settings import Generate
from prefboost.runs.outputs import locate_store, write_output
from prefboost.sources.writers.outputs import guard_file
from prefboost.tables import Table

__all__ = [
    "MODEL_CHANGES",
    "Generate",
    "GenerationPlan",
    "write_finished_completions",
    "generate",
    "plan_generation",
    "note_changes",
]


MODEL_CHANGES = "answered as different models"
"""Note of a step: what a server's replies notes of who answered."""


@dataclass(frozen=True)
class GenerationPlan:
    """Plan of a generation.

    Args:
        prompts: prompts that can be completed.
        rows: completions.
        prompt_tokens: tokens of all their prompts.
        most_tokens: tokens that they have if none ends before ``max_tokens``.
        rejected: prompts set aside by whichever step, by reason.
        stored: completions that an earlier call has left in the store; all else here counts the others.
        most_dollars: what the others cost at most; None: the price table does not name the model.
        estimated: the tokens of prompts are estimates, since no tokenizer is at hand.
        again: of the rows, those that failed in an earlier call.
        refused: of those stored, such as are not asked again although they have no completion.
    """

    prompts: int
    rows: int
    prompt_tokens: int
    most_tokens: int
    rejected: dict[str, int]
    stored: int = 0
    most_dollars: float | None = None
    estimated: bool = False
    again: int = 0
    refused: int = 0


def plan_generation(
    prompts: Table,
    settings: Generate,
    out: str | Path | None = None,
    *,
    engine: Engine | None = None,
    store: str | Path | None = None,
) -> GenerationPlan:
    """Plan what `generate` would do. It loads a tokenizer, and a model only to look into a store.

    Args:
        prompts: any table with prompts.
        settings: what is to be generated.
        out: the file that would be written.
        engine: an engine that is already open.
        store: see `generate`.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name the model.
    """
    price = find_price(settings.model, settings.prices, settings.budget)
    engine = engine or settings.engine.open()
    frame, rejects = split_renderable(prompts, settings, engine)
    rows = list_requests(frame, settings, engine)
    keys: list[str] = []
    answers: dict[str, Stored] = {}
    failed: dict[str, Failure] = {}
    place = store or (out and locate_store(out))
    left = rows
    if place is not None and Path(place).exists():
        with Store(place, retry=settings.retry, read_only=True) as held:
            keys = [query_completion(engine, row.request, settings.sampling).key for row in rows]
            answers, failed = held.find_answers(keys), held.failures(keys)
        left = [row for row, key in zip(rows, keys, strict=True) if key not in answers]
    read = sum(engine.prompt_tokens([row.request for row in left]))
    most = len(left) * settings.sampling.max_tokens
    return GenerationPlan(
        prompts=frame.height,
        rows=len(left),
        prompt_tokens=read,
        most_tokens=most,
        rejected=dict(Counter([*prompts.rejects["reason"], *rejects["reason"]])),
        stored=len(rows) - len(left),
        most_dollars=None if price is None else price.dollars(read, most),
        estimated=engine.remote,
        again=sum(key in failed and key not in answers for key in keys),
        refused=sum(key in failed and key in answers for key in keys),
    )


def generate(
    prompts: Table,
    settings: Generate,
    out: str | Path | None = None,
    *,
    engine: Engine | None = None,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> Table:
    """Complete prompts.

    Args:
        prompts: Prompts, or any table with prompts, of which each is completed once.
        settings: engine, sampling, number of completions and goals.
        out: ``.parquet`` or ``.jsonl`` file to write. Every completion is kept in the folder ``OUT.store`` as it
            finishes: the same call after an interruption goes on from there, and its rows equal an uninterrupted
            run's; after a change it asks only for rows that changed; a second process shares the work. What was
            set aside, in reading the prompts or here, stands in the file of `locate_rejects`, absent where nothing was.
        engine: an engine that is already open, instead of ``settings.engine``.
        store: a folder to use in the place of ``OUT.store``, e.g. one that generation, scoring and judging share.
        progress: called after every batch.

    Returns:
        Completions in the order of the prompts, goals and samples, with ``goal``, ``model``, ``finish_reason`` and
        ``tokens``; their prompts are those that were given, without the goal. Prompts that the chat template
        refuses, that cannot say a goal, are too long for the model or stand twice are rejects, and so are rows
        that the engine could not complete.

    Raises:
        ModelError: the model cannot be loaded or reached, or its chat template has no place for goals.
        RunError: the budget is spent before all is done, and what is done stays in the store; or less than
            ``settings.least_answered`` was answered, which is written all the same. Or the output is an input,
            or a file that `generate` did not write.
        SettingsError: the budget is in dollars, and the price table does not name the model.
    """
    guard_file(out, "generate", [prompts], [settings], store=store)
    find_price(settings.model, settings.prices, settings.budget)  # a missing price is told before weights are loaded
    engine = engine or settings.engine.open()
    frame, rejects = prepare_prompts(prompts, settings, engine)
    rows = list_requests(frame, settings, engine)
    spending = Spending(budget=settings.budget, prices=settings.prices)
    if out is None:
        results = _complete(rows, Desk(None, spending, progress), settings, engine)
        table = build_completions(prompts, frame, rejects, settings, results)
        _check_answers(results, settings)
        return table
    with Store(store or locate_store(out), retry=settings.retry) as held:
        desk = Desk(held, spending, progress)
        results = _complete(rows, desk, settings, engine)
        if len(results) < len(rows):
            raise describe_spent_budget(engine.ledger, len(results), len(rows))
        completed = build_completions(prompts, frame, rejects, settings, results)
        table = write_output(note_changes(completed, *desk.changes), Path(out), store=held)
    _check_answers(results, settings)
    return table


def write_finished_completions(
    prompts: Table,
    settings: Generate,
    out: str | Path,
    *,
    engine: Engine | None = None,
    store: str | Path | None = None,
) -> Table:
    """Write what `generate` has finished, as it would write it; asks for nothing, also while another process generates.

    Args:
        prompts: see `generate`.
        settings: the same as there.
        out: the file to write, beside which the store is.
        engine: an engine that is already open.
        store: see `generate`.

    Raises:
        RunError: there is no store. Or the output is an input, or a file that `generate` did not write.
    """
    place = Path(store or locate_store(out))
    guard_file(out, "generate", [prompts], [settings], store=place)
    if not place.exists():
        raise RunError(f"the store {place} does not exist", remedy="first run the same command without --partial")
    engine = engine or settings.engine.open()
    frame, rejects = prepare_prompts(prompts, settings, engine)
    rows = list_requests(frame, settings, engine)
    with Store(place, retry="none", read_only=True) as held:
        desk = Desk(held, partial=True)
        completed = build_completions(prompts, frame, rejects, settings, _complete(rows, desk, settings, engine))
        return write_output(note_changes(completed, *desk.changes), Path(out), store=held)


def _complete(
    rows: Sequence[CompletionRequest], desk: Desk, settings: Generate, engine: Engine
) -> list[tuple[CompletionRequest, Outcome]]:
    """Complete the rows, in their order; those that the budget does not allow, or a partial desk lacks, are absent."""
    desk.open_engine(settings.engine, engine)
    watch = Watch(engine, desk.store) if engine.remote and desk.store is not None else None
    # Prompts that are too long for the model are rejects already.
    inquiry = Inquiry(engine, desk, WorkProgress("generate", len(rows), unit="rows"), watch=watch)
    replies: dict[int, Reply] = {}
    for batch in inquiry.ask([row.request for row in rows], InWords(settings.sampling)):
        replies.update(batch)
    if len(replies) < len(rows) and not engine.ledger.exhausted:
        raise RunError(
            f"the engine gave {len(replies)} of {len(rows)} completions", remedy="run the same command again"
        )
    outcomes = [(row, replies.get(index)) for index, row in enumerate(rows)]
    return [(row, reply) for row, reply in outcomes if isinstance(reply, Result | Failure)]


def note_changes(table: Table, *changes: str | None) -> Table:
    """Note in a table's history that another model answered under the same name (`describe_change`)."""
    notes = [change for change in changes if change]
    if not notes:
        return table
    last = table.steps[-1]
    return replace(table, steps=(*table.steps[:-1], replace(last, notes={**last.notes, MODEL_CHANGES: notes})))


def _check_answers(results: Sequence[tuple[CompletionRequest, Outcome]], settings: Generate) -> None:
    """See that enough was answered."""
    reasons = [outcome.reason for _, outcome in results if isinstance(outcome, Failure)]
    check_answered(len(results) - len(reasons), len(results), settings, reasons)
