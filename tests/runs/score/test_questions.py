"""Scorers and judges on a server that breaks calls: killed, interrupted, shared and budgeted, the table is the same."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FAULTS, FaultyServer
from tests.runs.generate.test_generate import finished_rows
from tests.scoring.conftest import completions_table, pairs_table
from waiting import PATIENCE_S, wait_until

from prefboost.cli.main import main
from prefboost.engines.budget import Budget, Price, Spending
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.store.store import Store
from prefboost.errors import RunError
from prefboost.runs.outputs import locate_store
from prefboost.runs.score.judge import judge, write_finished_verdicts
from prefboost.runs.score.questions import forecast_questions
from prefboost.runs.score.score import score, write_finished_scores
from prefboost.scoring import Rater, RulesScorer
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.scoring.judges.verdicts import ORDERS

RATES = dict.fromkeys(FAULTS, 0.06) | {"slow": 0.0, "too_many": 0.0}
TEXTS = [(f"question {at % 40}", f"completion {at}") for at in range(120)]
PAIRS = [(f"question {at}", f"one {at}", f"other {at}") for at in range(60)]
QUICK = {"concurrency": 8, "attempts": 12, "backoff_s": 0.005, "timeout_s": PATIENCE_S}


def says(prompt: str, seed: int, place: int) -> str:
    """A rating or a verdict that is a function of the question; nothing at other places, which are not asked for."""
    if place:
        return "nobody asked for this"
    drawn = hashlib.sha256(prompt.encode()).digest()[0]
    if '"verdict"' in prompt:
        return json.dumps({"reason": "so", "verdict": ("1", "2", "tie")[drawn % 3]})
    return json.dumps({"ratings": [{"candidate": 1, "reason": "so", "rating": 1 + drawn % 10}]})


def rater(server: FaultyServer, **changes: Any) -> Rater:
    return Rater(engine=OpenAICompatible(model="m", base_url=server.base_url, **(QUICK | changes)))


def llm(server: FaultyServer) -> LlmJudge:
    return LlmJudge(engine=OpenAICompatible(model="m", base_url=server.base_url, **QUICK))


def command(verb: str, kind: str, server: FaultyServer, source: Path, out: Path) -> list[str]:
    engine = {"kind": "openai_compatible", "model": "m", "base_url": server.base_url, **QUICK, "concurrency": 4}
    options = [f"kind={kind}", *(f"engine.{name}={value}" for name, value in engine.items())]
    return [sys.executable, "-m", "prefboost.cli.main", verb, str(source), "-o", str(out), "--quiet", *options]


def launched(line: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def leans(prompt: str) -> dict[str, float]:
    """Log-probs of ten letters that are a function of the question."""
    weights = [1 + byte for byte in hashlib.sha256(prompt.encode()).digest()[:10]]
    return {letter: math.log(each / sum(weights)) for letter, each in zip("ABCDEFGHIJ", weights, strict=True)}


def rated(prompt: str) -> float:
    return float(json.loads(says(prompt, 0, 0))["ratings"][0]["rating"])


def expected_rating(prompt: str) -> float:
    return sum(rating * math.exp(value) for rating, value in enumerate(leans(prompt).values(), 1))


def ruled(prompt: str) -> float:
    return {"1": 1.0, "2": 0.0, "tie": 0.5}[json.loads(says(prompt, 0, 0))["verdict"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "read", "right"),
    [("score", "answer", rated), ("score", "logprobs", expected_rating), ("judge", "answer", ruled)],
)
def test_two_thousand_questions_at_high_fault_rates_are_answered_right_or_recorded(
    verb: str, read: Any, right: Callable[[str], float], tmp_path: Path
) -> None:
    rates = dict.fromkeys(FAULTS, 0.06) | {"slow": 0.002, "too_many": 1e-9}
    out, quick = tmp_path / "out.parquet", QUICK | {"attempts": 3, "concurrency": 32}
    with FaultyServer(rates=rates, answer=says, likely=leans, seed=3, attempts=3) as server:
        engine = OpenAICompatible(model="m", base_url=server.base_url, **quick)
        if verb == "score":
            table = completions_table([(f"question {at % 400}", f"completion {at}") for at in range(2000)])
            by: Any = Rater(engine=engine, read=read)
            found = score(table, by, out)
            rows = [(found.frame["row"], found.frame["score"])]
        else:
            table = pairs_table([(f"question {at}", f"one {at}", f"other {at}") for at in range(1000)])
            by = LlmJudge(engine=engine, read=read)
            found = judge(table, by, out)[0]
            shown = [found.frame.filter(shown_first=first) for first in ORDERS]
            rows = [(frame["row"], frame["first_wins"]) for frame in shown]
    truth = [right(str(question.prompt[-1]["content"])) for question in by.questions(table)]
    failed = found.rejects["row"].to_list()
    for order, (kept, numbers) in enumerate(rows):
        assert sorted([*kept, *failed]) == list(range(len(table))), "none is lost, none stands twice"
        assert numbers.to_list() == pytest.approx([truth[row * len(rows) + order] for row in kept])
    assert set(found.rejects["reason"]) == {"the engine gave no answer"} and 20 < len(failed) < 400
    with Store(locate_store(out)) as store:
        answers = list(store.rows("generate" if read == "answer" else "logprobs"))
        assert len(answers) == len(server.asked) == 2000
        assert store.book().total().requests == server.calls
    assert server.calls == server.faults.total() + server.answered.total() and server.lost == 0
    assert max(server.answered.values()) == 1, "no question is asked again once it is answered"
    expected = {*FAULTS} - {"too_many"} - ({"nan"} if read == "answer" else set())
    assert {*server.faults} == expected


def test_a_row_that_fails_is_set_aside_and_asked_again_by_the_next_call(tmp_path: Path) -> None:
    table, out = completions_table(TEXTS[:20]), tmp_path / "s.parquet"
    with FaultyServer(rates={"500": 0.3}, answer=says) as server:
        found = score(table, rater(server, attempts=1), out)
        aside = found.rejects["reason"].to_list()
        assert len(found) + len(aside) == 20 and aside and set(aside) == {"the engine gave no answer"}
        server.rates = {}
        healed = score(table, rater(server, attempts=1), out)
        assert server.calls == 20 + len(aside)
    assert len(healed) == 20 and healed.rejects.is_empty()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["score", "judge"])
def test_killed_interrupted_and_shared_by_two_processes_the_table_is_the_undisturbed_one(
    verb: str, tmp_path: Path
) -> None:
    table, kind = (completions_table(TEXTS), "rater") if verb == "score" else (pairs_table(PAIRS), "llm")
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table.frame.drop("score_chosen", "score_rejected", strict=False).write_parquet(source)
    questions, draw = 120, random.Random(verb)
    with FaultyServer(rates=RATES, answer=says, delay_s=0.05) as server:
        line = command(verb, kind, server, source, out)
        for ending in (signal.SIGKILL, signal.SIGINT):
            before = finished_rows(out)
            enough = before + draw.randrange(1, 15)
            server.most_answers = server.answered.total() + enough - before + 10  # it cannot end before it is killed
            running = launched(line)
            wait_until(lambda at=enough: finished_rows(out) >= at, f"{enough} rows are kept", running)
            os.kill(running.pid, ending)
            running.wait(PATIENCE_S)
            server.wait_until_left()
            assert before < finished_rows(out) < questions and not out.exists()
        kept, answered = finished_rows(out), server.answered.total()
        server.most_answers = None
        both = [launched(line), launched(line)]
        assert [each.wait(PATIENCE_S) for each in both] == [0, 0]
        assert server.answered.total() - answered == questions - kept, "no row is done by both"
        lost = answered - kept
        assert 0 <= lost <= 2 * 4, "a kill loses no more than the calls in flight"
        whole = tmp_path / "whole.parquet"
        assert main(command(verb, kind, server, source, whole)[3:]) == 0
    named = pl.exclude("model", "judge")
    assert pl.read_parquet(out).select(named).equals(pl.read_parquet(whole).select(named))


def test_a_budget_stops_before_it_is_exceeded_and_what_is_done_can_be_written(tmp_path: Path) -> None:
    out = tmp_path / "v.parquet"
    with FaultyServer(rates=RATES, answer=says) as server:
        by, spending = llm(server), Spending(budget=Budget(requests=50))
        with pytest.raises(RunError, match="budget"):
            judge(pairs_table(PAIRS), by, out, spending=spending)
        assert server.calls == 50
        some, _ = write_finished_verdicts(pairs_table(PAIRS), by, out)
        assert 0 < len(some) < 100 and set(some.rejects["reason"]) == {"not done yet"}
        assert server.calls == 50 and pl.read_parquet(out).height == len(some)
        every, _ = judge(pairs_table(PAIRS), by, out)
    assert len(every) == 120


def test_partial_output_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="does not exist"):
        write_finished_scores(completions_table(TEXTS), RulesScorer(), tmp_path / "s.parquet")


def test_a_plan_counts_questions_tokens_and_dollars_and_asks_nothing(tmp_path: Path) -> None:
    table, out = completions_table(TEXTS[:30]), tmp_path / "s.parquet"
    spending = Spending(prices={"m": Price(prompt=1.0, completion=2.0)})
    with FaultyServer(answer=says) as server:
        score(completions_table(TEXTS[:10]), rater(server), out)
        calls = server.calls
        plan = forecast_questions(table, rater(server), spending, out)
        assert server.calls == calls == 10
    assert (plan.counts, plan.total.stored, plan.total.estimated) == ({"rows": 30, "questions": 20}, 10, True)
    assert plan.total.most_tokens == 20 * 512 and plan.total.prompt_tokens > 20 * 100
    assert plan.total.most_dollars == pytest.approx((plan.total.prompt_tokens + 2 * plan.total.most_tokens) / 1e6)
    weighed = Rater(engine=rater(server).engine, read="logprobs")
    assert forecast_questions(table, weighed, spending).total.most_tokens == 30
    assert forecast_questions(table, RulesScorer(), spending).counts["questions"] == 0
    pairs = pairs_table(PAIRS[:3])
    assert forecast_questions(pairs, ScorerJudge(scorer=weighed), spending).counts["questions"] == 6


def test_generation_scoring_and_judging_share_a_store(tmp_path: Path) -> None:
    store = tmp_path / "shared"
    with FaultyServer(answer=says) as server:
        score(completions_table(TEXTS[:5]), rater(server), tmp_path / "a.parquet", store=store)
        judge(pairs_table(PAIRS[:5]), llm(server), tmp_path / "b.parquet", store=store)
        score(completions_table(TEXTS[:5]), rater(server), tmp_path / "c.parquet", store=store)
    assert server.calls == 15
    with Store(store) as held:
        assert held.book().total().requests == 15 and len(list(held.rows("generate"))) == 15
