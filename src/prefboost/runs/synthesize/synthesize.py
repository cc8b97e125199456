"""`synthesize`: prompts in, preference pairs out; an interrupted run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from prefboost.engines.budget import Spending
from prefboost.engines.engine import Failure
from prefboost.engines.store.opening import has_store, open_store
from prefboost.errors import DataError, Place
from prefboost.forecast import CallForecast, Forecast
from prefboost.progress import Tell, WorkProgress
from prefboost.runs.outputs import place_store, write_output
from prefboost.runs.score.questions import check_rejects, open_call_session
from prefboost.settings import choice
from prefboost.sources import Columns
from prefboost.sources.writers.file_types import find_file_type
from prefboost.sources.writers.outputs import guard_file
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.kinds import METHODS
from prefboost.synthesis.labels import NO_ANSWER
from prefboost.synthesis.method import Method
from prefboost.synthesis.pairs import build_pairs_table
from prefboost.synthesis.proposal import BUDGET_SPENT, NO_COMPLETION, Draft, PromptItem, Proposal, list_prompt_items
from prefboost.synthesis.rehearsal import CallRehearsal
from prefboost.synthesis.review import review_proposals
from prefboost.tables import Table

__all__ = ["Synthesize", "forecast_synthesis", "synthesize"]


class Synthesize(Spending):
    """Settings of `synthesize`. All models share the budget; pairs that it leaves unfinished are rejected."""

    method: Annotated[Method, choice(METHODS)] = Field(description="Method by which pairs are made.")
    prompts_at_once: int = Field(
        64, ge=1, description="Prompts that are taken through all steps before the next ones; no pair depends on it."
    )
    columns: Columns = Field(Columns(), description="Columns of the prompts' file, where they are not guessed right.")


def synthesize(
    prompts: Table,
    settings: Synthesize,
    out: str | Path | None = None,
    *,
    store: str | Path | None = None,
    progress: Tell = lambda _: None,
) -> Table:
    """Make preference pairs of prompts.

    Args:
        prompts: Prompts, or any table with prompts, each of which is taken once.
        settings: method, budget and prices.
        out: ``.parquet`` or ``.jsonl`` file to write. Every completion and judgement is kept in the folder
            ``OUT.store`` as it comes: the same call after an interruption goes on from there and gives the same file.
            What was done stands in ``OUT.synthesize.json``, rejected rows in the file of `locate_rejects`.
        store: a folder or an address to use in the place of ``OUT.store``.
        progress: called after every batch.

    Returns:
        PreferencePairs with ``lineage`` and, where the label is a probability, ``chosen_wins``. What was filtered,
        could not be generated, or was not finished within the budget, is rejects with reasons.

    Raises:
        ModelError: a model cannot be loaded or reached, or cannot do what the method asks for.
        SettingsError: a prompt file cannot be used; the budget is in dollars, and a model has no price.
        DataError: there is no prompt.
        RunError: less than ``settings.least_answered`` was answered; what there is, is written all the same. Or the
            output is an input, or a file that `synthesize` did not write.
    """
    guard_file(out, "synthesize", [prompts], [settings])
    items = _list_items(prompts)
    if out is not None:
        find_file_type(Path(out))
    with open_call_session(out, store, settings, progress) as session:
        calls = Calls(session)
        proposals = _propose_all(items, settings, calls, progress)
        # The cost is that of all calls that share the store.
        notes = {"prompts": len(items), "budget_spent": calls.exhausted, "spent": asdict(session.book.total())}
        table = build_pairs_table(prompts, settings.method, settings.method.decide(proposals), notes)
        if out is not None:
            table = write_output(table, Path(out), store=session.store, history={"synthesize": _count_pairs})
    check_rejects(table, len(proposals), (NO_COMPLETION, NO_ANSWER), settings)
    return table


def forecast_synthesis(
    prompts: Table, settings: Synthesize, out: str | Path | None = None, *, store: str | Path | None = None
) -> Forecast:
    """Forecast what `synthesize` would ask for if nothing were in its store; loads tokenizers, but no model.

    Args:
        prompts: see `synthesize`.
        settings: see there.
        out: the file that would be written; its store tells how many calls were made, and which failed.
        store: see `synthesize`.
    """
    items = _list_items(prompts)
    rehearsal = CallRehearsal(settings.prices)
    proposals = [each for some in _split_items(items, settings) for each in settings.method.propose(some, rehearsal)]
    review_proposals(settings.method.filters, proposals, rehearsal, rehearsal=True)
    calls_before = refused = 0
    failed: list[str] = []
    place = place_store(out, store)
    if place is not None and has_store(place):
        with open_store(place, retry=settings.retry, read_only=True) as held:
            calls_before = held.book().total().requests
            failed = [row.key for row in held.rows() if isinstance(row.stored, Failure)]
            refused = len(held.find_answers(failed))
    counts = {
        "prompts": len(items), "pairs": len(proposals), "texts_scored": rehearsal.texts_scored,
        "calls_before": calls_before, "again": len(failed) - refused, "refused": refused,
    }  # fmt: skip
    sentences = {
        "texts_scored": "completions to score",
        "calls_before": "calls were made before with this output; its store keeps the answers",
        "again": "calls failed or were refused before, and are asked again (--retry none leaves them)",
        "refused": "calls were refused before, and are not asked again (--retry refused asks them)",
    }
    remarks = [f"{counts[name]:,} {sentence}" for name, sentence in sentences.items() if counts[name]]
    headline = f"{len(proposals):,} pairs of {len(items):,} prompts, before filters"
    parts = tuple(rehearsal.counts.values())
    return Forecast(headline, counts, sum(parts, CallForecast()), parts, remarks=remarks)


def _list_items(prompts: Table) -> list[PromptItem]:
    items = list_prompt_items(prompts)
    if not items:
        raise DataError("there is no prompt", remedy="give a table with prompts", place=Place(path=prompts.path))
    return items


def _split_items(items: list[PromptItem], settings: Synthesize) -> Iterator[list[PromptItem]]:
    for start in range(0, len(items), settings.prompts_at_once):
        yield items[start : start + settings.prompts_at_once]


def _propose_all(items: list[PromptItem], settings: Synthesize, calls: Calls, progress: Tell) -> list[Proposal]:
    """Propose pairs for all prompts; once the budget is spent the other prompts are rejected unasked."""
    proposals: list[Proposal] = []
    done = 0

    def tell(work: WorkProgress) -> None:
        note = f"{work.name} {work.done:,}/{work.total or 0:,}"
        total = calls.session.book.total()
        progress(WorkProgress("prompts", len(items), done, spent=total, unit="prompts", note=note))

    calls.session = replace(calls.session, tell=tell)
    progress(WorkProgress("prompts", len(items), unit="prompts"))
    for some in _split_items(items, settings):
        if calls.exhausted:
            proposals += [Proposal(item, Draft(), Draft(), fault=(BUDGET_SPENT, "")) for item in some]
            continue
        proposals += review_proposals(settings.method.filters, settings.method.propose(some, calls), calls)
        done += len(some)
        progress(WorkProgress("prompts", len(items), done, spent=calls.session.book.total(), unit="prompts"))
    return proposals


def _count_pairs(table: Table) -> dict[str, Any]:
    """Count the pairs that were written, and what one of them costs."""
    pairs, step = len(table), table.steps[-1]
    proposed = pairs + sum(step.rejected.values())
    return {
        "pairs": pairs,
        "proposed": proposed,
        "share_rejected": {reason: count / proposed for reason, count in step.rejected.items()},
        "per_pair": {name: value / pairs for name, value in step.notes["spent"].items()} if pairs else None,
    }
