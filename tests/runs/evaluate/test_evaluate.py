"""Whole evaluations: tiny random models, and 805 prompts against a server that breaks."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections import Counter

import fsspec
import pytest
from faulty_server import FaultyServer
from waiting import PATIENCE_S, wait_until

from prefboost.engines.budget import Budget
from prefboost.engines.local.engine import Local
from prefboost.engines.store.store import Store
from prefboost.errors import DataError, RunError, SettingsError
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.protocols import BenchmarkOutcome, MeasuredBenchmark
from prefboost.evaluation.results import Figure, Results
from prefboost.runs.evaluate.evaluate import (
    evaluate,
    locate_answers,
    locate_results,
    read_files,
    read_judge_verdicts,
    write_evaluation,
)
from prefboost.runs.evaluate.forecast import forecast_evaluation
from prefboost.runs.evaluate.settings import Evaluate
from prefboost.settings import Settings
from prefboost.statistics import Interval

FAST = {"min_mass": 0.0, "interval": {"resamples": 100}, "threads": 1}


def silent(_):
    return lambda progress: None


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    from tests.training.conftest import build_model, build_tokenizer

    folder = tmp_path_factory.mktemp("judge")
    build_model(1, max_position_embeddings=4096).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return Local(model=str(folder), dtype="float32")


@pytest.fixture
def tiny(tiny_model, judge, tmp_path):
    """Settings with a tiny model and its twin, at goals 1 and 10."""
    (tmp_path / "p.txt").write_text("".join(f"What is {at}?\n" for at in range(10)))
    shutil.copytree(tiny_model, tmp_path / "one")
    shutil.copytree(tiny_model, tmp_path / "twin")

    def made(**changes):
        models = [Local(model=str(tmp_path / name), dtype="float32") for name in ("one", "twin")]
        pairwise = {"kind": "pairwise", "prompts": tmp_path / "p.txt", "baseline": "one@10", **FAST}
        settings = {"models": models, "goals": [1, 10], "benchmarks": [pairwise], "judge": judge}
        return Evaluate(**{**settings, "answering": {"max_tokens": 8, "temperature": 1.0}, **changes})

    return made


def test_a_model_at_two_goals_against_its_twin_is_even_at_the_same_goal_and_turns_with_the_order(tiny, tmp_path):
    results = evaluate(tiny(), tmp_path / "out", tell=silent)["pairwise"]
    assert results.figure("win_rate", "twin@10").value.estimate == 50.0
    assert results.figure("lc_win_rate", "twin@10").value.estimate == pytest.approx(50.0)
    other = tiny(benchmarks=[{**tiny().benchmarks[0].model_dump(), "baseline": "one@1"}])
    turned = evaluate(other, tmp_path / "out", tell=silent)["pairwise"]
    forth, back = (
        run.figure("win_rate", name).value.estimate for run, name in ((results, "one@1"), (turned, "one@10"))
    )
    assert forth + back == pytest.approx(100.0, abs=1e-4)
    with Store(locate_answers(tmp_path / "out")) as store:
        kinds = Counter(row.kind for row in store.rows())
    assert kinds["generate"] == 20, "one model, two goals: its twin's completions are its own"
    assert kinds["logprobs"] == 20, "the judge is asked both orders once, whoever is the baseline"


def test_what_was_said_to_whom_stands_in_the_results(tiny, tmp_path):
    results = evaluate(tiny(), tmp_path / "out", tell=silent)["pairwise"]
    run = results.facts["run"]
    assert "Overall score: 10." in run["models"]["one@10"]["goal text"]
    assert run["models"]["one@1"]["completions"] == 10
    seen = run["judge"]["answered as"]
    assert len(seen) == 1 and re.fullmatch(r"\d{4}-\d\d-\d\d", seen[0]["date"])
    assert seen[0]["engine"] == run["judge"]["identity"]
    assert Results.of(json.loads((tmp_path / "out" / "results.json").read_text())).markdown() == results.markdown()


def test_a_finished_evaluation_is_written_again_without_a_question_and_a_new_goal_asks_its_own_alone(tiny, tmp_path):
    evaluate(tiny(goals=[10]), tmp_path / "out", tell=silent)
    plan = forecast_evaluation(tiny(goals=[10]), tmp_path / "out")
    assert plan.total.calls == 0
    plan = {part.name.partition(", ")[2]: part for part in forecast_evaluation(tiny(), tmp_path / "out").parts}
    assert (plan["one@1"].calls, plan["one@1"].stored) == (10, 0)
    assert (plan["one@10"].calls, plan["one@10"].stored) == (0, 10)


def test_an_evaluation_at_an_address_has_the_same_verdicts_and_keeps_its_answers_there(tiny, tmp_path):
    place = f"memory://{uuid.uuid4().hex}/evaluation"
    for out in (place, tmp_path / "out"):
        evaluate(tiny(goals=[10]), out, tell=silent)
    assert forecast_evaluation(tiny(goals=[10]), place).total.calls == 0
    system, path = fsspec.core.url_to_fs(place)
    assert system.cat_file(f"{path}/verdicts.jsonl") == (tmp_path / "out" / "verdicts.jsonl").read_bytes()
    names = {each.name for each in (tmp_path / "out").iterdir() if each.is_file()}
    assert names <= {each.rpartition("/")[2] for each in system.ls(path, detail=False)}


def test_several_benchmarks_have_a_folder_each_and_share_what_models_said(tiny, tmp_path):
    pairwise = tiny().benchmarks[0].model_dump()
    alpaca = {**pairwise, "kind": "alpaca_eval"}
    settings = tiny(benchmarks=[pairwise, alpaca])
    found = evaluate(settings, tmp_path / "out", tell=silent)
    assert set(found) == {"pairwise", "alpaca_eval"}
    for kind in found:
        assert len(read_judge_verdicts(tmp_path / "out" / kind / "verdicts.jsonl")) == 60
    with Store(locate_answers(tmp_path / "out")) as store:
        assert Counter(row.kind for row in store.rows())["generate"] == 20


class Counting(Settings):
    """A benchmark without a judge."""

    kind: str = "counting"

    def measure(self, contestants, assets, *, folder, limit=None, tell=lambda _: None):
        """Counts who is measured."""
        value = Interval(float(len(contestants)), math.nan, math.nan, 0.95, rows=1, clusters=1)
        figures = tuple(Figure("n", one.name, value, 0, limit) for one in contestants)
        return BenchmarkOutcome(Results("counting", "robust", figures))


def test_a_benchmark_that_is_measured_needs_no_judge_and_gets_goals_and_limit(tiny, tmp_path):
    counting = Counting(kind=f"{Counting.__module__}:Counting")
    assert isinstance(counting, MeasuredBenchmark)
    settings = tiny(benchmarks=[counting], judge=None, limit=3)
    results = evaluate(settings, tmp_path / "out", tell=silent)[counting.kind]
    assert results.models == ["one@1", "one@10", "twin@1", "twin@10"]
    assert results.figures[0].rows == 3
    assert (tmp_path / "out" / "results.json").exists()
    with pytest.raises(SettingsError, match="pairwise needs a judge"):
        evaluate(tiny(judge=None), tmp_path / "out", tell=silent)


def test_completions_of_a_file_are_found_by_the_text_of_the_prompt(tmp_path):
    (tmp_path / "f.json").write_text('[{"instruction": "q1", "output": "a"}, {"instruction": "else", "output": "b"}]')
    prompts = [BenchmarkPrompt("id1", ("q1",)), BenchmarkPrompt("id2", ("q2",))]
    assert read_files({"f": tmp_path / "f.json"}, prompts) == {"f": {"id1": ("a",)}}


def test_two_turns_are_asked_in_turn_graded_and_scored_alike_from_the_file_of_what_was_said(tmp_path):
    questions = [
        {"question_id": at, "category": "writing", "turns": [f"Write {at}.", f"Rewrite {at}."]} for at in range(6)
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, questions)))

    def says(prompt, seed, place):
        grade = f"Well. Rating: [[{3 + len(prompt) % 5}]]"
        return grade if "The Start of Assistant" in prompt else f"to {prompt}"

    with FaultyServer(answer=says) as server:
        served = {"kind": "openai_compatible", "base_url": server.base_url}
        bench = {"kind": "mt_bench", "prompts": tmp_path / "q.jsonl", "interval": {"resamples": 100}}
        settings = Evaluate(
            models=[{**served, "model": "m"}], goals=[10], benchmarks=[bench], judge={**served, "model": "j"}
        )
        plan = forecast_evaluation(settings, tmp_path / "out")
        found = evaluate(settings, tmp_path / "out", tell=silent)["mt_bench"]
        assert server.calls == plan.total.calls == 24
        second = [
            body for body in server.bodies if [one["role"] for one in body["messages"]][-2:] == ["assistant", "user"]
        ]
        assert len(second) == 6
        assert all("Overall score: 10." in body["messages"][0]["content"] for body in second)
        assert all(body["messages"][-2]["content"] == f"to {body['messages'][-3]['content']}" for body in second)
        said = tmp_path / "again.jsonl"
        shutil.copy(tmp_path / "out" / "completions" / "m@10.jsonl", said)
        again = settings.model_copy(update={"models": (), "goals": (), "files": (said,)})
        other = evaluate(again, tmp_path / "out", tell=silent)["mt_bench"]
        assert server.calls == 24, "the judge is asked nothing new"
    assert found.figure("score", "m@10").value == other.figure("score", "again").value
    assert found.figure("score", "m@10").missing == 0


def test_verdicts_are_read_as_they_were_written(tmp_path):
    verdicts = [JudgeVerdict("p", "m", "x", 0.5, {"len_1": 3}, "j"), JudgeVerdict("q", "m", "x", None, {}, "j", "gone")]
    write_evaluation(tmp_path / "out", verdicts, Results("pairwise", "robust", ()))
    assert read_judge_verdicts(tmp_path / "out" / "verdicts.jsonl") == verdicts
    (tmp_path / "bad.jsonl").write_text('{"uid": 1}')
    with pytest.raises(DataError, match="no model"):
        read_judge_verdicts(tmp_path / "bad.jsonl")


def test_one_benchmark_is_written_into_the_folder_itself(tiny, tmp_path):
    settings = tiny()
    assert locate_results(tmp_path, settings.benchmarks[0], settings) == tmp_path


# 805 prompts, both orders, against a server that breaks.

PROMPTS = 805
RATES = {"429": 0.02, "500": 0.02, "cut": 0.02, "malformed": 0.01, "truncated": 0.01, "too_few": 0.01, "nan": 0.01}


def completions(path, words):
    """Answers of changing length; four prompts in a thousand have none."""
    rows = [
        {"instruction": f"Question {at}?", "output": " ".join(f"{words}{at % 7}" for _ in range(5 + at % 60))}
        for at in range(PROMPTS) if words == "base" or at % 250
    ]  # fmt: skip
    path.write_text(json.dumps(rows))
    return path


def likely(prompt):
    """The judge: longer is better, and so is what stands second."""
    one, other = re.findall(r'"output": """(.*?)"""', prompt, flags=re.S)
    share = 1 / (1 + math.exp(-(len(other) - len(one)) / 50 - 0.3))
    return {"m": math.log(1 - share), "M": math.log(share)}


@pytest.fixture
def alpaca_like(tmp_path, tiny_model):
    """Command and server of a run whose judge's tokens are those of a known tokenizer."""
    from prefboost.engines.models.weights import load_tokenizer, message_tokens

    tokenizer = load_tokenizer(str(tiny_model))
    base, mine = completions(tmp_path / "base.json", "base"), completions(tmp_path / "mine.json", "mine ")

    def line(server, out, *more):
        start = [sys.executable, "-m", "prefboost.cli.main", "evaluate", str(mine), "--baseline", str(base)]
        judge = [f"judge.base_url={server.base_url}", "judge=openai:j", f"judge.tokenizer={tiny_model}"]
        press = ["judge.concurrency=8", "judge.attempts=12", "judge.backoff_s=0.002", f"judge.timeout_s={PATIENCE_S}"]
        score = [
            "alpaca_eval.interval.resamples=100",
            "alpaca_eval.threads=1",
            "prices={j: {prompt: 10, completion: 30}}",
        ]
        return [*start, *judge, *press, *score, "-o", str(out), "--quiet", "--json", *more]

    counted = {}

    def count(messages):
        text = json.dumps(messages)
        counted.setdefault(text, message_tokens(tokenizer, messages))
        return counted[text]

    with FaultyServer(rates=RATES, likely=likely, count=count, named=("j-2030", "fp_1")) as server:
        yield server, line


def stored(out):
    if not (locate_answers(out) / "rows.sqlite").exists():
        return 0
    with Store(locate_answers(out)) as store:
        return sum(row.kind == "logprobs" for row in store.rows())


def ran(line):
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
def test_805_prompts_in_both_orders_at_a_server_that_breaks_are_finished_after_kills_without_a_repeated_call(
    alpaca_like, tmp_path
):
    server, line = alpaca_like
    out = tmp_path / "out"
    plan = ran(line(server, out, "--dry-run"))
    assert server.calls == 0
    kept = lost = 0
    for part in (0.2, 0.6):
        enough = part * 2 * PROMPTS
        server.most_answers = server.answered.total() + int(enough) - kept + 100  # it cannot end before it is killed
        running = subprocess.Popen(line(server, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda at=enough: stored(out) >= at, f"{enough} verdicts are kept", running)
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait() == -signal.SIGKILL
        server.wait_until_left()
        kept = stored(out)
        lost = server.answered.total() - kept
        assert not (out / "results.json").exists()
    assert 0 < kept < 1602 and 0 <= lost <= 2 * 8, "a kill loses no more than the calls in flight"
    before, server.most_answers = server.answered.total(), None
    results = Results.of(ran(line(server, out)))
    assert server.answered.total() - before == 1602 - kept, "what was kept is not asked again"
    # exactly the calls of the forecast were wanted: 801 prompts in two orders; tokens by the server's own count
    judging = plan["parts"][-1]
    assert len(server.answered) == judging["calls"] == 1602
    billed_once = server.billed * judging["calls"] / sum(server.answered.values())
    assert judging["prompt_tokens"] + judging["likely_tokens"] == pytest.approx(billed_once, rel=0.05)
    assert judging["likely_dollars"] == pytest.approx(billed_once * 10 / 1e6, rel=0.05)
    figure = results.figure("win_rate", "mine")
    assert (figure.rows, figure.missing) == (1610, 8)
    assert figure.value is not None, "half a per cent is missing: the figure is given"
    assert results.facts["run"]["judge"]["answered as"][0]["model"] == "j-2030"
    calls = server.calls
    assert Results.of(ran(line(server, out))).figure("win_rate", "mine") == figure
    assert server.calls == calls, "a finished run asks nothing"


def test_more_than_one_in_a_hundred_missing_withholds_the_headline_unless_allowed(tmp_path):
    base = completions(tmp_path / "base.json", "base")
    some = json.loads(base.read_text())[:100]
    (tmp_path / "b.json").write_text(json.dumps(some))
    (tmp_path / "m.json").write_text(json.dumps([{**one, "output": f"mine {at}"} for at, one in enumerate(some[:97])]))
    alpaca = {"kind": "alpaca_eval", "prompts": tmp_path / "b.json", "baseline": str(tmp_path / "b.json"), **FAST}
    with FaultyServer(likely=likely) as server:
        judge = {"kind": "openai_compatible", "model": "j", "base_url": server.base_url}
        settings = Evaluate(files=[tmp_path / "m.json"], benchmarks=[alpaca], judge=judge)
        found = evaluate(settings, tmp_path / "out", tell=silent)["alpaca_eval"]
        allowed = evaluate(
            settings.model_copy(update={"allow_missing": True}), tmp_path / "out", tell=silent
        )["alpaca_eval"]  # fmt: skip
        assert server.calls == 194
    figure = found.figure("win_rate", "m")
    assert (figure.value, figure.missing, figure.rows) == (None, 6, 200)
    low, high = figure.bounds
    assert high - low == pytest.approx(3.0)
    assert low < allowed.figure("win_rate", "m").value.estimate < high


def test_one_answer_to_everything_is_an_alarm(tmp_path):
    base = completions(tmp_path / "base.json", "base")
    some = json.loads(base.read_text())[:40]
    (tmp_path / "b.json").write_text(json.dumps(some))
    (tmp_path / "null.json").write_text(json.dumps([{**one, "output": "Structure wins."} for one in some]))
    alpaca = {"kind": "alpaca_eval", "prompts": tmp_path / "b.json", "baseline": str(tmp_path / "b.json"), **FAST}
    with FaultyServer(likely=likely) as server:
        judge = {"kind": "openai_compatible", "model": "j", "base_url": server.base_url}
        settings = Evaluate(files=[tmp_path / "null.json"], benchmarks=[alpaca], judge=judge)
        alarms = evaluate(settings, tmp_path / "out", tell=silent)["alpaca_eval"].alarms
    told = "null gives one and the same completion to 40 of 40 prompts: its win rate means nothing"
    assert alarms.count(told) == 1


def test_a_budget_in_dollars_stops_before_it_is_exceeded_and_goes_on(tmp_path):
    base = completions(tmp_path / "base.json", "base")
    some = json.loads(base.read_text())[:30]
    (tmp_path / "b.json").write_text(json.dumps(some))
    (tmp_path / "m.json").write_text(json.dumps([{**one, "output": f"mine {at}"} for at, one in enumerate(some)]))
    alpaca = {"kind": "alpaca_eval", "prompts": tmp_path / "b.json", "baseline": str(tmp_path / "b.json"), **FAST}
    with FaultyServer(likely=likely) as server:
        judge = {"kind": "openai_compatible", "model": "j", "base_url": server.base_url}
        prices = {"j": {"prompt": 100.0, "completion": 100.0}}
        settings = Evaluate(files=[tmp_path / "m.json"], benchmarks=[alpaca], judge=judge, prices=prices)
        with pytest.raises(RunError, match="the budget is spent: the judge has"):
            evaluate(settings.model_copy(update={"budget": Budget(dollars=3.0)}), tmp_path / "out", tell=silent)
        done = server.calls
        assert 0 < done < 60
        results = evaluate(settings, tmp_path / "out", tell=silent)["alpaca_eval"]
        assert server.calls == 60
    assert results.facts["run"]["cost"]["this call"]["requests"] == 60 - done
    assert results.facts["run"]["cost"]["all calls of the store"]["requests"] == 60
