"""Questions are asked once, counted, and read from stores of any version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from scripted_engine import Scripted, WordyEngine

from prefboost.engines.ask import ChoiceLogprobs, Inquiry, InWords, Unasked
from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.call_session import NOT_YET, CallSession
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.store.store import Store
from prefboost.progress import WorkProgress

WORDS = InWords(Sampling(temperature=0.0, max_tokens=10))


def build_requests(*texts: str) -> list[Request]:
    return [Request([{"role": "user", "content": text}]) for text in texts]


def test_rounds_are_counted_together_and_equal_questions_are_asked_once(tmp_path: Path) -> None:
    engine, reports = WordyEngine("e", str.upper), list[WorkProgress]()
    with Store(tmp_path / "s") as store:
        inquiry = Inquiry(engine, CallSession(store, tell=reports.append), WorkProgress("stage", 5), too_long="long")
        first = dict(pair for batch in inquiry.ask(build_requests("a", "b", "a"), WORDS) for pair in batch)
        second = dict(pair for batch in inquiry.ask(build_requests("b", "c"), WORDS) for pair in batch)
    texts = [reply.text for reply in (*map(first.get, range(3)), *map(second.get, range(2)))]  # type: ignore[union-attr]
    assert texts == ["A", "B", "A", "B", "C"]
    assert len(engine.asked) == 3
    assert (inquiry.work.done, inquiry.work.stored) == (5, 1)
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert reports[0].done == 0 and (reports[-1].name, reports[-1].total, reports[-1].done) == ("stage", 5, 5)


@pytest.mark.parametrize("with_store", [False, True])
def test_a_question_that_does_not_fit_is_marked_and_stops_no_other(tmp_path: Path, with_store: bool) -> None:
    engine = WordyEngine("e", str.upper)
    engine.context = 24
    requests = build_requests("a", " ".join(["word"] * 30), "b")
    with Store(tmp_path / "s") as store:
        inquiry = Inquiry(engine, CallSession(store if with_store else None), WorkProgress("stage", 3), too_long="long")
        replies = dict(pair for batch in inquiry.ask(requests, WORDS) for pair in batch)
    assert isinstance(replies[1], Unasked) and replies[1].reason == "long" and "at most 24" in replies[1].detail
    assert isinstance(replies[0], Result) and isinstance(replies[2], Result) and len(engine.asked) == 2


def test_a_partial_desk_reads_what_is_stored_and_asks_nothing(tmp_path: Path) -> None:
    engine = WordyEngine("e", str.upper)
    with Store(tmp_path / "s") as store:
        list(
            Inquiry(engine, CallSession(store), WorkProgress("stage", 1), too_long="long").ask(
                build_requests("a"), WORDS
            )
        )
        inquiry = Inquiry(engine, CallSession(store, partial=True), WorkProgress("stage", 2), too_long="long")
        (batch,) = inquiry.ask(build_requests("a", "b"), WORDS)
    assert dict(batch) == {0: Result("A", "stop", 1, 1), 1: Unasked(NOT_YET)}
    assert len(engine.asked) == 1


def test_where_the_budget_ends_the_rest_has_no_reply(tmp_path: Path) -> None:
    engine = WordyEngine("e", str.upper)
    with Store(tmp_path / "s") as store:
        engine.ledger = Ledger(Budget(requests=2), book=store.book())
        inquiry = Inquiry(engine, CallSession(store), WorkProgress("stage", 3), too_long="long")
        replies = dict(pair for batch in inquiry.ask(build_requests("a", "b", "c"), WORDS) for pair in batch)
    assert set(replies) == {0, 1} and inquiry.work.done == 2 and engine.ledger.exhausted


def test_the_store_of_an_earlier_version_is_read_and_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    dump = Path(__file__).parents[1] / "runs" / "evaluate" / "data" / "earlier_store.sql"
    with sqlite3.connect(tmp_path / "s" / "rows.sqlite") as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))
    words, weights = Scripted.by(fail, name="judge-t").open(), Scripted.by(weigh=fail, name="judge-w").open()
    rate, choose = ([Request([{"role": "user", "content": text, "extra": None}])] for text in ("rate", "choose"))
    with Store(tmp_path / "s") as store:
        answers = Inquiry(words, CallSession(store), WorkProgress("stage", 1)).ask(
            rate, InWords(Sampling(temperature=0.0))
        )
        assert [reply.text for batch in answers for _, reply in batch] == ["Rating: [[7]]"]  # type: ignore[union-attr]
        shares = Inquiry(weights, CallSession(store), WorkProgress("stage", 1)).ask(choose, ChoiceLogprobs(("A", "B")))
        assert [reply for batch in shares for _, reply in batch] == [(-1.3862943611198906, -0.2876820724517809)]


def fail(*_: object) -> Failure:
    raise AssertionError("nothing may be asked")
