"""The questions of `score` and `judge`: where answers are stored, and how many would be asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import polars as pl

from prefboost.addresses import format_place
from prefboost.engines.budget import Spending, find_price
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Engine
from prefboost.engines.kinds import model_name
from prefboost.engines.patience import Patience, check_answered
from prefboost.engines.store.opening import has_store, open_store
from prefboost.errors import RunError
from prefboost.forecast import CallForecast, Forecast, describe_scoring
from prefboost.progress import Tell
from prefboost.runs.outputs import place_store, write_output
from prefboost.scoring.answers import Questions
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.tables import Table

__all__ = [
    "MODEL_CHANGES",
    "QuestionAsker",
    "TextReader",
    "check_rejects",
    "forecast_calls",
    "forecast_questions",
    "open_call_session",
    "write_answered",
]

MODEL_CHANGES = "answered as different models"
"""Note of a step: other models answered under the same name (`describe_change`)."""


@runtime_checkable
class QuestionAsker(Protocol):
    """A scorer or judge that asks a model in words or for log-probs."""

    def asks(self, table: Table) -> Questions:
        """Return the questions that it would ask."""


@runtime_checkable
class TextReader(Protocol):
    """A scorer whose models read whole texts on this machine."""

    def measure_texts(self, table: Table) -> Sequence[int]:
        """Measure every text that its models would read, in tokens; no weights are loaded."""


def check_rejects(table: Table, rows: int, unanswered: Collection[str], patience: Patience) -> None:
    """See that a model answered enough of the rows it was asked about.

    Args:
        table: what came of it, with its rejects.
        rows: that were asked about.
        unanswered: reasons of rejects that a model did not answer.
        patience: how much is enough.

    Raises:
        RunError: it is not.
    """
    stage = table.steps[-1].verb
    is_missing = pl.col("reason").is_in(list(unanswered)) & (pl.col("stage") == stage)
    missing = sum(frame.select(is_missing.sum()).item() for frame in table.read_rejects())
    frames = (frame.filter(is_missing).select("reason", "found") for frame in table.read_rejects())
    check_answered(
        rows - missing, rows, patience, (fault or reason for frame in frames for reason, fault in frame.iter_rows())
    )


@contextmanager
def open_call_session(
    out: str | Path | None, store: str | Path | None, spending: Spending, tell: Tell, *, partial: bool = False
) -> Iterator[CallSession]:
    """Open a session with the store that is named, or the one beside an output; without either nothing is stored.

    Raises:
        RunError: what is stored is wanted alone, and there is no store.
    """
    place = place_store(out, store)
    if partial and (place is None or not has_store(place)):
        named = "" if place is None else f"{format_place(place)} "
        raise RunError(f"the store {named}does not exist", remedy="first run the same command without --partial")
    if place is None:
        yield CallSession(None, spending, tell)
        return
    retry = "none" if partial else spending.retry  # what is written so far shows every row that failed, and why
    with open_store(place, retry=retry, read_only=partial) as held:
        yield CallSession(held, spending, tell, partial=partial)


def write_answered(
    table: Table, out: str | Path | None, session: CallSession, verb: str, count: Callable[[Table], Mapping[str, Any]]
) -> Table:
    """Write what a verb made of a model's answers, where it has an output; the session's store excludes other writers.

    Args:
        table: the rows; other models that answered under the same name are noted in its last step.
        out: ``.parquet`` or ``.jsonl`` file.
        session: at which the model was asked.
        verb: names the file of the history, ``OUT.VERB.json``.
        count: counts the written rows for the history.

    Returns:
        the table with its notes, as it was written.
    """
    if changes := [change for change in session.changes if change]:
        last = table.steps[-1]
        noted = replace(last, notes={**last.notes, MODEL_CHANGES: changes})
        table = table.replace_fields(steps=(*table.steps[:-1], noted))
    return table if out is None else write_output(table, Path(out), store=session.store, history={verb: count})


def forecast_calls(
    engine: Engine, questions: Questions, spending: Spending, out: str | Path | None, store: str | Path | None
) -> CallForecast:
    """Forecast the calls for questions that no store answers: that which is named, or the one beside an output.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name the model.
    """
    price = find_price(model_name(questions.engine), spending.prices, spending.budget)
    requests = questions.requests
    answers, failed, keys = set[str](), set[str](), [""] * len(requests)
    place = place_store(out, store)
    # A local model's keys hold the fingerprint of its weights, which are read only where there is a store to look into.
    if place is not None and has_store(place):
        # Opened first: the store settles the number type of a model on this machine, which is part of the keys.
        with open_store(place, retry=spending.retry, read_only=True) as held:
            keys = [query.key for query in questions.list_queries(engine)]
            answers, failed = set(held.find_answers(keys)), set(held.failures(keys))
    left = [request for request, key in zip(requests, keys, strict=True) if key not in answers]
    final = failed & answers
    read, most = sum(engine.prompt_tokens(left)), len(left) * questions.most_tokens
    return CallForecast(
        calls=len(left),
        stored=len(requests) - len(left),
        again=sum(key in failed and key not in final for key in keys),
        refused=sum(key in final for key in keys),
        prompt_tokens=read,
        most_tokens=most,
        most_dollars=None if price is None else price.dollars(read, most),
        estimated=engine.remote,
    )


def forecast_questions(
    table: Table, asker: Any, spending: Spending, out: str | Path | None = None, store: str | Path | None = None
) -> Forecast:
    """Forecast what `score` or `judge` would ask, or read. It loads a model only to look into a store of answers.

    Args:
        table: completions or pairs.
        asker: a scorer or judge.
        spending: budget and prices.
        out: the file that would be written.
        store: the store that would be used.

    Raises:
        SettingsError: the budget is in dollars, and the price table does not name the model.
    """
    asker = asker.scorer if isinstance(asker, ScorerJudge) else asker
    if not isinstance(asker, QuestionAsker):
        lengths = asker.measure_texts(table) if isinstance(asker, TextReader) else []
        read = CallForecast(calls=len(lengths), prompt_tokens=sum(lengths))
        counts = {"rows": len(table), "questions": 0, "texts": len(lengths)}
        place = place_store(out, store)
        # Their keys hold the fingerprint of weights, which are not loaded here.
        held = lengths and place is not None and has_store(place)
        guesses = ["texts: those that the store holds already are counted too"] if held else []
        return Forecast(describe_scoring(counts), counts, read, guesses=guesses)
    questions = asker.asks(table)
    engine = questions.engine.open()
    # Equal questions are asked once. By their content: keys may be computed only once the store is open.
    unique = replace(questions, requests=list({repr(request): request for request in questions.requests}.values()))
    calls = forecast_calls(engine, unique, spending, out, store)
    counts = {"rows": len(table), "questions": calls.calls}
    return Forecast(f"{calls.calls:,} questions about {len(table):,} rows", counts, calls)
