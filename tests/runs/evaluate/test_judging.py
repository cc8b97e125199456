import sqlite3
from pathlib import Path

import pytest
from faulty_server import FaultyServer
from judge_of_the_new import BENCHMARK, on, requests_in, scripted
from scripted_engine import Scripted

from prefboost.engines.budget import Budget, Ledger
from prefboost.engines.engine import Sampling
from prefboost.engines.store.sightings import sightings
from prefboost.engines.store.store import Store
from prefboost.errors import RunError
from prefboost.evaluation.benchmark import BenchmarkPrompt
from prefboost.evaluation.mt_bench.benchmark import MtBench
from prefboost.evaluation.protocols import Contestant
from prefboost.runs.evaluate.answering import answer_prompts, open_speaker
from prefboost.runs.evaluate.judge_forecast import forecast_judging
from prefboost.runs.evaluate.judging import judge_requests


def test_a_judge_is_asked_once_and_a_second_call_asks_nothing(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    with Store(tmp_path / "store") as store:
        verdicts = judge_requests(BENCHMARK, requests, judge.open(), store)
        asked = len(judge.asked)
        again = judge_requests(BENCHMARK, requests, judge.open(), store)
    assert asked == len(requests) == forecast_judging(requests, judge.open()).calls
    assert len(judge.asked) == asked
    assert again == verdicts
    assert all(one.value == pytest.approx(0.9) and one.judge == "scripted" for one in verdicts)


def test_who_answered_is_kept_with_fingerprint_and_date_and_a_change_is_seen(tmp_path):
    requests = requests_in(tmp_path)
    with FaultyServer(likely=lambda _: {"m": -0.5, "M": -1.0}) as server, Store(tmp_path / "store") as store:
        server.named = ("j-2029", "fp_a")
        judge_requests(BENCHMARK, requests[:12], on(server), store, clock=lambda: "2030-01-01")
        server.named = ("j-2029", "fp_b")
        judge_requests(BENCHMARK, requests, on(server), store, clock=lambda: "2030-01-02")
        seen = sightings(store)
    assert [(one.model, one.fingerprint, one.date) for one in seen] == [
        ("j-2029", "fp_a", "2030-01-01"), ("j-2029", "fp_b", "2030-01-02")
    ]  # fmt: skip
    assert server.base_url in seen[0].engine


def test_a_budget_ends_judging_and_what_is_done_stays(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    with Store(tmp_path / "store") as store:
        judge.open().ledger = Ledger(Budget(requests=10))
        with pytest.raises(RunError, match="the judge has 10 of 24 answers"):
            judge_requests(BENCHMARK, requests, judge.open(), store)
        judge.open().ledger = Ledger()
        judge_requests(BENCHMARK, requests, judge.open(), store)
    assert len(judge.asked) == 24


def test_a_question_that_the_judge_cannot_see_whole_is_missing_and_never_cut(tmp_path):
    requests, judge = requests_in(tmp_path), scripted()
    lengths = judge.open().prompt_tokens([type("R", (), {"prompt": one.messages})() for one in requests])
    judge.open().context = max(lengths)
    with Store(tmp_path / "store") as store:
        verdicts = judge_requests(BENCHMARK, requests, judge.open(), store)
    missing = [one for one in verdicts if one.value is None]
    assert len(missing) == lengths.count(max(lengths)) and "exceed what the judge can see" in missing[0].fault
    assert len(judge.asked) == len(requests) - len(missing)


def test_the_store_of_an_earlier_version_is_read_and_nothing_is_asked(tmp_path):
    (tmp_path / "s").mkdir()
    dump = Path(__file__).parent / "data" / "earlier_store.sql"
    with sqlite3.connect(tmp_path / "s" / "rows.sqlite") as connection:
        connection.executescript(dump.read_text(encoding="utf-8"))

    def fail(*_):
        raise AssertionError("nothing may be asked")

    prompts = [BenchmarkPrompt(f"q{at}", (f"Question {at}?", f"And {at}?"), "writing") for at in range(3)]
    completions = {
        name: {prompt.uid: [f"{name} {prompt.uid}", f"{name} again"] for prompt in prompts} for name in ("base", "mine")
    }
    weighing, grading = Scripted.by(weigh=fail, name="judge-w"), Scripted.by(fail, name="judge-t")
    model = Scripted.by(fail, name="model")
    with Store(tmp_path / "s") as store:
        compared = judge_requests(BENCHMARK, BENCHMARK.build(prompts, completions), weighing.open(), store)
        graded = judge_requests(
            MtBench(), MtBench().build(prompts, {"mine": completions["mine"]}), grading.open(), store
        )
        speaker = open_speaker(Contestant("model", model), model.open())
        answers = answer_prompts(speaker, prompts, lambda _: Sampling(temperature=0.0, top_p=1.0, max_tokens=64), store)
    assert [verdict.value for verdict in compared] == pytest.approx([0.75, 0.25] * 3)
    assert [verdict.value for verdict in graded] == [7.0] * 6
    assert answers.completions["q1"] == ("answer to Question 1?", "answer to And 1?")
