import json

import pytest
from faulty_server import FaultyServer

from prefboost.engines.pool import work_with
from prefboost.errors import RunError, SettingsError
from prefboost.runs.evaluate.evaluate import evaluate
from prefboost.runs.evaluate.forecast import forecast_evaluation
from prefboost.runs.evaluate.settings import Evaluate

SERVED = {"kind": "openai_compatible"}


def settings(tmp_path, server=None, **changes):
    url = {"base_url": server.base_url} if server else {}
    (tmp_path / "p.txt").write_text("".join(f"What is {at}?\n" for at in range(10)))
    pairwise = {"kind": "pairwise", "prompts": tmp_path / "p.txt", "interval": {"resamples": 100}, "threads": 1}
    models = [{**SERVED, "model": "m", **url}]
    prices = {"m": {"prompt": 1.0, "completion": 2.0}, "j": {"prompt": 10.0, "completion": 30.0}}
    judge = {**SERVED, "model": "j", **url}
    made = {"models": models, "goals": [1, 10], "benchmarks": [pairwise], "judge": judge, "prices": prices}
    return Evaluate(**{**made, **changes})


def test_calls_are_forecast_exactly_before_anybody_has_said_a_word(tmp_path):
    lines = {
        line.name.partition(", ")[2]: line for line in forecast_evaluation(settings(tmp_path), tmp_path / "out").parts
    }
    assert [(who, line.calls) for who, line in lines.items()] == [("m@1", 10), ("m@10", 10), ("judge", 20)]
    assert lines["judge"].estimated and "nobody has said yet" in lines["judge"].note
    judging = lines["judge"]
    assert judging.likely_dollars == pytest.approx((10 * judging.prompt_tokens + 30 * judging.likely_tokens) / 1e6)
    assert not (tmp_path / "out").exists(), "a forecast writes nothing"


def test_the_forecast_is_what_then_happens_and_nothing_is_left_of_it(tmp_path):
    said = "one and two and three"
    with FaultyServer(
        likely=lambda _: {"m": -0.5, "M": -1.0}, answer=lambda prompt, seed, place: f"{said} {seed}"
    ) as server:
        asked = settings(tmp_path, server)
        plan = forecast_evaluation(asked, tmp_path / "out")
        assert server.calls == 0
        evaluate(asked, tmp_path / "out", tell=lambda _: lambda progress: None)
        assert server.calls == plan.total.calls == 40
        after = forecast_evaluation(asked, tmp_path / "out")
        assert [(line.calls, line.stored) for line in after.parts] == [(0, 10), (0, 10), (0, 20)]
        assert server.calls == 40


def test_the_forecast_names_what_failed_and_is_asked_again_and_too_few_answers_are_an_error(tmp_path):
    def unlucky(body, call):
        text = body["messages"][-1]["content"]
        questions = ("What is 3?", "What is 4?") if body["model"] == "m" else ("What is 5?",)
        return (400, {"error": "no"}) if any(question in text for question in questions) else None

    with FaultyServer(likely=lambda _: {"m": -0.5, "M": -1.0}, script=unlucky) as server:
        asked = settings(tmp_path, server, least_answered=0.9)
        with pytest.raises(RunError, match="m@1: 8 of 10 rows were answered, less than least_answered"):
            evaluate(asked, tmp_path / "out", tell=lambda _: lambda progress: None)
        assert (tmp_path / "out" / "results.json").exists(), "the answered rows are written"
        first = forecast_evaluation(asked, tmp_path / "out").parts[0]
        assert (first.calls, first.again, first.stored) == (2, 2, 8)
        none = asked.model_copy(update={"retry": "none"})
        # What is not asked again stands in the store without an answer, of contestants and of the judge (two orders).
        counts = [(line.calls, line.stored, line.refused) for line in forecast_evaluation(none, tmp_path / "out").parts]
        assert counts == [(0, 10, 2), (0, 10, 2), (0, 16, 2)]


def test_another_models_completions_stand_in_for_those_nobody_has_said(tmp_path):
    def with_baseline(words):
        rows = [{"instruction": f"What is {at}?", "output": "word " * words} for at in range(10)]
        (tmp_path / "base.json").write_text(json.dumps(rows))
        pairwise = {"kind": "pairwise", "prompts": tmp_path / "p.txt", "baseline": str(tmp_path / "base.json")}
        return forecast_evaluation(settings(tmp_path, benchmarks=[pairwise], goals=[]), tmp_path / "out").parts

    short, long = with_baseline(10), with_baseline(1000)
    assert [line.calls for line in short] == [line.calls for line in long] == [10, 20]
    longer = long[-1].prompt_tokens - short[-1].prompt_tokens
    assert longer == pytest.approx(20 * 2 * 990 * 5 / 4.35, rel=0.02), (
        "the model is taken to say as much as the baseline"
    )


def test_what_two_benchmarks_both_ask_is_counted_once(tmp_path):
    pairwise = settings(tmp_path).benchmarks[0].model_dump()
    both = settings(tmp_path, benchmarks=[pairwise, {**pairwise, "kind": "alpaca_eval"}])
    lines = forecast_evaluation(both, tmp_path / "out").parts
    assert [(line.name.partition(", ")[0], line.calls) for line in lines] == [
        ("pairwise", 10), ("pairwise", 10), ("pairwise", 20), ("alpaca_eval", 0), ("alpaca_eval", 0), ("alpaca_eval", 0)
    ]  # fmt: skip


def test_a_budget_in_dollars_needs_the_price_of_every_server(tmp_path):
    with pytest.raises(SettingsError, match="has no 'm'"):
        forecast_evaluation(settings(tmp_path, prices={}, budget={"dollars": 1}), tmp_path / "out")


def test_nobody_to_judge_is_said_before_anything_is_counted(tmp_path):
    with pytest.raises(SettingsError, match="pairwise needs a judge"):
        forecast_evaluation(settings(tmp_path, judge=None), tmp_path / "out")


def test_what_the_run_would_refuse_on_a_pool_the_forecast_refuses_too(tmp_path):
    academic = Evaluate(models=[{"kind": "local", "model": "m"}], benchmarks=["academic"])
    assert "no calls are counted" in forecast_evaluation(academic, tmp_path / "out").parts[0].note
    with work_with(NotImplemented), pytest.raises(SettingsError, match="m would be loaded by lm-evaluation-harness"):
        forecast_evaluation(academic, tmp_path / "out")
