"""`generate`: prompts in, completions out, for several goals; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from prefboost.engines.ask import Inquiry, InWords
from prefboost.engines.budget import UNLIMITED, describe_spent_budget, find_price
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine, Failure, Request, Result
from prefboost.engines.patience import check_answered
from prefboost.engines.pool import open_engine
from prefboost.engines.store.sightings import Watch
from prefboost.errors import RunError
from prefboost.forecast import Forecast
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.generate.completions import build_completions
from prefboost.runs.generate.outcomes import OutcomeFile
from prefboost.runs.generate.requests import (
    cut_prompts,
    list_requests,
    list_wanted,
    prepare_prompts,
    split_renderable,
)
from prefboost.runs.generate.settings import Generate
from prefboost.runs.outputs import locate_sign
from prefboost.runs.score.questions import forecast_calls, open_call_session, write_answered
from prefboost.scoring.answers import Questions
from prefboost.sources.writers.outputs import guard_file
from prefboost.tables import Table

__all__ = [
    "Generate",
    "write_finished_completions",
    "generate",
    "forecast_generation",
]


def forecast_generation(
    prompts: Table,
    settings: Generate,
    out: str | Path | None = None,
    *,
    engine: Engine | None = None,
    store: str | Path | None = None,
) -> Forecast:
    """Forecast what `generate` would do. It loads a tokenizer, and a model only to look into a store.

    Args:
        prompts: any table with prompts.
        settings: what is to be generated.
        out: the file that would be written.
        engine: an engine that is already open.
        store: see `generate`.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name the model.
    """
    engine = engine or settings.engine.open()
    prepared, rejects = split_renderable(prompts, settings, engine)
    requests = chain.from_iterable(_build_pieces(prepared, settings, engine))
    questions = Questions(settings.engine, list(requests), settings.sampling)
    calls = forecast_calls(engine, questions, settings, out, store)
    return Forecast(
        f"{calls.calls:,} completions of {len(prepared):,} prompts",
        {"prompts": len(prepared), "rows": calls.calls},
        calls,
        rejected=prompts.add_rejects(rejects).count_rejects(),
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
    guard_file(out, "generate", [prompts], [settings], store=locate_sign(out, store))
    find_price(settings.model, settings.prices, settings.budget)  # a missing price is told before weights are loaded
    with open_call_session(out, store, settings, progress) as session:
        engine = engine or open_engine(settings.engine)
        prepared, rejects = prepare_prompts(prompts, settings, engine)
        outcomes = _complete(prepared, session, settings, engine)
        if session.store is not None and outcomes.count < len(outcomes):
            raise describe_spent_budget(engine.ledger, outcomes.count, len(outcomes))
        completed = build_completions(prompts, prepared, rejects, settings, outcomes)
        table = write_answered(completed, out, session, "generate", _count_rows)
    check_answered(outcomes.count - outcomes.failed, outcomes.count, settings, outcomes.read_reasons())
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
    guard_file(out, "generate", [prompts], [settings], store=locate_sign(out, store))
    with open_call_session(out, store, UNLIMITED, lambda _: None, partial=True) as session:
        engine = engine or settings.engine.open()
        prepared, rejects = prepare_prompts(prompts, settings, engine)
        outcomes = _complete(prepared, session, settings, engine)
        completed = build_completions(prompts, prepared, rejects, settings, outcomes)
        return write_answered(completed, out, session, "generate", _count_rows)


def _count_rows(written: Table) -> dict[str, int]:
    return {"rows": len(written)}


def _build_pieces(prepared: Table, settings: Generate, engine: Engine) -> Iterator[list[Request]]:
    """Build the requests, each piece when it is drawn."""
    return (list_requests(frame, settings, engine) for frame in cut_prompts(prepared, settings))


def _complete(prepared: Table, session: CallSession, settings: Generate, engine: Engine) -> OutcomeFile:
    """Complete the prompts; requests that a budget forbids, or a partial session lacks, have no outcome."""
    session.open_engine(settings.engine, engine)
    watch = Watch(engine, session.store) if engine.remote and session.store is not None else None
    outcomes = OutcomeFile(len(prepared) * len(list_wanted(settings)))
    # Prompts that are too long for the model are rejects already.
    inquiry = Inquiry(engine, session, WorkProgress("generate", len(outcomes), unit="rows"), watch=watch)
    pieces: Iterable[list[Request]] = _build_pieces(prepared, settings, engine)
    if not engine.remote:
        # An engine of this machine plans its batches by the length of all prompts. Other batches would have other sums,
        # so that a run which was interrupted under an earlier version would not end with the same rows.
        pieces = [list(chain.from_iterable(pieces))]
    count = 0
    for batch in inquiry.ask_pieces(pieces, InWords(settings.sampling)):
        count += len(batch)
        for number, reply in batch:
            if isinstance(reply, Result | Failure):
                outcomes[number] = reply
    if count < len(outcomes) and not engine.ledger.exhausted:
        raise RunError(f"the engine gave {count} of {len(outcomes)} completions", remedy="run the same command again")
    return outcomes
