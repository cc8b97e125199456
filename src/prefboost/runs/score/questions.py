"""The questions of `score` and `judge`: where answers are stored, and how many would be asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import polars as pl

from prefboost.engines.budget import Spending, find_price
from prefboost.engines.desk import Desk
from prefboost.engines.kinds import model_name
from prefboost.engines.patience import Patience, check_answered
from prefboost.engines.store.store import Store
from prefboost.errors import RunError
from prefboost.progress import Tell
from prefboost.runs.outputs import locate_store
from prefboost.scoring.answers import Questions
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.tables import Table

__all__ = ["QuestionAsker", "QuestionPlan", "check_rejects", "open_desk", "plan_questions"]


@runtime_checkable
class QuestionAsker(Protocol):
    """A scorer or judge that asks a model in words or for log-probs."""

    def asks(self, table: Table) -> Questions:
        """Return the questions that it would ask."""


@dataclass(frozen=True)
class QuestionPlan:
    """Plan of a scorer or judge.

    Args:
        rows: of the table: completions or pairs.
        questions: that would be asked; 0 where this machine computes the scores.
        stored: questions that a store holds the answers of; all else here counts the others.
        again: of the questions, those that failed in an earlier call.
        refused: of those stored, such as are not asked again although they have no answer.
        prompt_tokens: tokens of all their prompts.
        most_tokens: tokens of the longest answers that are allowed.
        most_dollars: what they cost at most; None: the price table does not name the model.
        estimated: the tokens of prompts are estimates, since no tokenizer is at hand.
    """

    rows: int
    questions: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    most_tokens: int = 0
    most_dollars: float | None = None
    estimated: bool = False
    again: int = 0
    refused: int = 0


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
    missing = table.rejects.filter(pl.col("reason").is_in(list(unanswered)) & (pl.col("stage") == stage))
    faults = zip(missing["reason"].to_list(), missing["found"].to_list(), strict=True)
    check_answered(rows - len(missing), rows, patience, [fault or reason for reason, fault in faults])


@contextmanager
def open_desk(
    out: str | Path | None, store: str | Path | None, spending: Spending, tell: Tell, *, partial: bool = False
) -> Iterator[Desk]:
    """Open a desk with the store that is named, or the one beside an output; without either nothing is stored.

    Raises:
        RunError: what is stored is wanted alone, and there is no store.
    """
    place = store or (None if out is None else locate_store(out))
    if partial and (place is None or not Path(place).exists()):
        raise RunError(f"the store {place} does not exist", remedy="first run the same command without --partial")
    if place is None:
        yield Desk(None, spending, tell)
        return
    retry = "none" if partial else spending.retry  # what is written so far shows every row that failed, and why
    with Store(place, retry=retry, read_only=partial) as held:
        yield Desk(held, spending, tell, partial=partial)


def plan_questions(
    table: Table, asker: Any, spending: Spending, out: str | Path | None = None, store: str | Path | None = None
) -> QuestionPlan:
    """Plan what `score` or `judge` would ask. It asks nothing, and loads a model only to look into a store.

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
        return QuestionPlan(len(table))
    questions = asker.asks(table)
    price = find_price(model_name(questions.engine), spending.prices, spending.budget)
    engine = questions.engine.open()
    places = {question.key: index for index, question in enumerate(questions.list_queries(engine))}
    answers: dict[str, Any] = {}
    failed: set[str] = set()
    place = store or (out and locate_store(out))
    if place is not None and Path(place).exists():
        with Store(place, retry=spending.retry, read_only=True) as held:
            answers, failed = held.find_answers(places), set(held.failures(places))
    left = [questions.requests[index] for key, index in places.items() if key not in answers]
    read = sum(engine.prompt_tokens(left))
    most = len(left) * questions.most_tokens
    return QuestionPlan(
        rows=len(table),
        questions=len(left),
        stored=len(answers),
        prompt_tokens=read,
        most_tokens=most,
        most_dollars=None if price is None else price.dollars(read, most),
        estimated=engine.remote,
        again=len(failed - answers.keys()),
        refused=len(failed & answers.keys()),
    )
