"""Calls: one store, one budget for all models, odd prompts stop nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_writer import LengthScorer, Writer

from prefboost.engines.budget import Budget, Price, Spending
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Failure, Request, Result, Sampling
from prefboost.engines.store.store import Store
from prefboost.errors import ModelError, SettingsError
from prefboost.progress import WorkProgress
from prefboost.synthesis.calls import Calls, model_name
from prefboost.synthesis.labels import build_sides_table

SAMPLING = Sampling(max_tokens=20)


def request(text: str) -> Request:
    return Request([{"role": "user", "content": text, "extra": None}])


REQUESTS = [request(text) for text in ("a", "b", "a", "c")]


@pytest.mark.parametrize("remote", [False, True])
def test_what_is_in_the_store_is_not_asked_again_and_costs_nothing(remote: bool, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        writer = Writer.by(remote=remote)
        with Store(tmp_path / "s") as store:
            calls = Calls(CallSession(store))
            found.append(calls.completions("x", writer, REQUESTS, SAMPLING))
            found.append(calls.choices("y", writer, REQUESTS, ["1", "2"]))
            spent = calls.session.book.total()
    assert found[:2] == found[2:] and writer.asked == []
    assert found[0][0] == found[0][2] and all(isinstance(each, Result) for each in found[0])
    if not remote:
        assert spent.requests == 6


def test_one_budget_holds_for_all_models() -> None:
    calls = Calls(CallSession(spending=Spending(budget=Budget(requests=5))))
    assert None not in calls.completions("x", Writer.by(model="one"), REQUESTS, SAMPLING)
    assert calls.completions("x", Writer.by(model="two"), REQUESTS, SAMPLING) == [None] * 4
    assert calls.exhausted
    assert calls.spent["x"].requests == 3  # equal requests are asked once


def test_a_prompt_that_the_model_cannot_take_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    writer = Writer.by()
    engine = writer.open()
    plain = engine.render

    def rendered(one: Any) -> str:
        if one.prompt[-1]["content"] == "b":
            raise ModelError("no such role\nat all", remedy="x")
        return str(plain(one))

    monkeypatch.setattr(engine, "render", rendered)
    long = request("word " * 10_000)
    found = Calls().completions("x", writer, [*REQUESTS, long], SAMPLING)
    assert isinstance(found[1], Failure) and "refuses the prompt: no such role" in found[1].reason
    assert isinstance(found[4], Failure) and "exceed the model's context" in found[4].reason
    assert [isinstance(each, Result) for each in found] == [True, False, True, True, False]


def test_a_budget_in_dollars_needs_a_price() -> None:
    budget = Budget(dollars=1.0)
    with pytest.raises(SettingsError, match="writer"):
        Calls(CallSession(spending=Spending(budget=budget))).completions("x", Writer.by(), REQUESTS, SAMPLING)
    prices = {"writer": Price(prompt=1e6, completion=0)}
    calls = Calls(CallSession(spending=Spending(budget=budget, prices=prices)))
    calls.choices("x", Writer.by(), REQUESTS[:1], ["1", "2"])
    assert calls.session.book.total().dollars == 1.0
    assert calls.choices("x", Writer.by(), REQUESTS[1:2], ["1", "2"]) == [None]


def test_progress_counts_rows_of_a_stage() -> None:
    reports: list[WorkProgress] = []
    Calls(CallSession(tell=reports.append)).completions("x", Writer.by(), REQUESTS, SAMPLING)
    assert [(work.name, work.total, work.done) for work in (reports[0], reports[-1])] == [("x", 4, 0), ("x", 4, 4)]


def test_scorers_score_by_themselves() -> None:
    table = build_sides_table([(REQUESTS[0].prompt, "one two", "three")])
    assert Calls().score(LengthScorer(), table).frame["score_chosen"].to_list() == [2.0]


def test_likelihoods_are_the_engines() -> None:
    assert Calls().likelihoods(Writer.by(), REQUESTS[:2], ["ab", "abcd"]) == [-2.0, -2.0]


def test_models_are_named_as_settings_name_them() -> None:
    assert model_name(Writer.by(model="x")) == "x"


class ScorerThatKeeps(LengthScorer):
    """Scores by words, telling its place of work how far it is."""

    def score_stored(self, table: Any, session: Any) -> Any:
        for done in range(len(table) + 1):
            session.tell(WorkProgress("score", len(table), done))
        return self.score(table)


def test_scores_are_told_as_they_come() -> None:
    reports: list[WorkProgress] = []
    calls = Calls(CallSession(tell=reports.append))
    question = [{"role": "user", "content": "q", "extra": None}]
    calls.score(ScorerThatKeeps(), build_sides_table([(question, "a", "b c"), (question, "d", "e")]))
    assert {(work.name, work.total) for work in reports} == {("scores", 2)}
    assert [work.done for work in reports] == [0, 1, 2]
