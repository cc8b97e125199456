"""Verdicts and withholding; and what must hold of every benchmark that compares with a baseline."""

import json
import math
import random
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.errors import DataError
from prefboost.evaluation.alpaca import scores as alpaca_scores
from prefboost.evaluation.alpaca.judging import AlpacaEval
from prefboost.evaluation.alpaca.pairwise import Compared
from prefboost.evaluation.alpaca.scores import AlpacaRules
from prefboost.evaluation.arena_hard.benchmark import ArenaHard
from prefboost.evaluation.benchmark import (
    BenchmarkPrompt,
    JudgeReply,
    JudgeRequest,
    JudgeVerdict,
    average_by_prompt,
    is_withheld,
)
from prefboost.statistics import Bootstrap, Interval, fit_length_control

DRAWS = Bootstrap(resamples=100)
RULES = AlpacaRules(interval=DRAWS, threads=1)
PROMPTS = [BenchmarkPrompt(f"p{at:02d}", (f"question {at}",), "hard_prompt/math") for at in range(14)]
AGAINST = {
    "alpaca_eval": lambda baseline: AlpacaEval(RULES, baseline),
    "pairwise": lambda baseline: Compared(RULES, baseline),
    "arena_hard": lambda baseline: ArenaHard(interval=DRAWS, baseline=baseline),
    "arena_hard, length held equal": lambda baseline: ArenaHard(interval=DRAWS, baseline=baseline, control=("length",)),
}
every_benchmark = pytest.mark.parametrize("kind", AGAINST)
seeds = given(seed=st.integers(0, 10_000))


def said(name: str, seed: int) -> dict[str, list[str]]:
    """Completions that say whose they are, of lengths that differ from prompt to prompt."""
    chance = random.Random(f"{name} {seed}")
    return {one.uid: [f"@@{name}@@ " + "word " * chance.randint(1, 60)] for one in PROMPTS}


def judge(request: JudgeRequest, seed: int) -> JudgeReply:
    """Prefers by hidden merit, and leans to the second place and to length."""
    told = "\n".join(message["content"] for message in request.messages)
    shown = re.findall(r"@@(\w+)@@ ((?:word )*)", told)
    merit = [random.Random(f"{name} {request.uid} {seed}").gauss(0, 1) + len(text) / 200 for name, text in shown]
    odds = merit[1] - merit[0] + 0.4
    if request.choices:
        chance = 1 / (1 + math.exp(-2 * odds))
        return JudgeReply(logprobs=(math.log(1 - chance), math.log(chance)))
    much = ">>" if abs(odds) > 1.5 else ">"
    return JudgeReply(f"[[{'B' + much + 'A' if odds > 0 else 'A' + much + 'B'}]]")


def verdicts_of(benchmark, completions, seed):
    requests = benchmark.build(PROMPTS, completions)
    return [benchmark.parse(one, judge(one, seed) if one.needs_call else JudgeReply()) for one in requests]


def scored(benchmark, verdicts, **how):
    """Figures; of the length-controlled one the estimate alone, whose resamples would take all the time."""

    def once(rows, drawing, threads):
        found = fit_length_control(rows)
        return Interval(found.share, math.nan, math.nan, drawing.level, len(rows.shares), len(PROMPTS)), math.nan

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alpaca_scores, "estimate_length_control", once)
        return benchmark.score(verdicts, **how)


def rates(results, model):
    """Name -> figure of its win rates, raw and length-controlled."""
    wanted = ("win_rate", "lc_win_rate")
    return {one.name: one for one in results.figures if one.model == model and one.name in wanted}


@every_benchmark
@settings(max_examples=4, deadline=None)
@seeds
def test_shuffled_rows_change_no_figure(kind, seed):
    benchmark = AGAINST[kind]("base")
    verdicts = verdicts_of(benchmark, {name: said(name, seed) for name in ("base", "mine", "other")}, seed)
    mixed = random.Random(seed).sample(verdicts, len(verdicts))
    one, two = scored(benchmark, verdicts), scored(benchmark, mixed)
    for model in ("mine", "other"):
        for name, figure in rates(one, model).items():
            other = rates(two, model)[name]
            assert (other.missing, other.rows) == (figure.missing, figure.rows)
            for part in ("estimate", "low", "high"):
                assert getattr(other.value, part) == pytest.approx(getattr(figure.value, part), abs=1e-6, nan_ok=True)


@every_benchmark
@settings(max_examples=4, deadline=None)
@seeds
def test_a_model_that_changes_places_with_the_baseline_has_the_rest_of_the_win_rate(kind, seed):
    completions = {name: said(name, seed) for name in ("base", "mine")}
    found = []
    for baseline, model in (("base", "mine"), ("mine", "base")):
        benchmark = AGAINST[kind](baseline)
        found.append(rates(scored(benchmark, verdicts_of(benchmark, completions, seed)), model))
    for name, figure in found[0].items():
        assert figure.value.estimate == pytest.approx(100 - found[1][name].value.estimate, abs=1e-4), name


@every_benchmark
@settings(max_examples=4, deadline=None)
@seeds
def test_a_model_against_itself_has_fifty_even_with_a_judge_who_leans_to_a_place(kind, seed):
    own = said("base", seed)
    benchmark = AGAINST[kind]("base")
    found = rates(scored(benchmark, verdicts_of(benchmark, {"base": own, "again": own}, seed)), "again")
    assert found
    for name, figure in found.items():
        assert figure.value.estimate == pytest.approx(50, abs=1e-9), name


@every_benchmark
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), lost=st.integers(1, 7))
def test_missing_rows_are_counted_withhold_the_headline_leave_others_alone_and_bound_the_truth(kind, seed, lost):
    benchmark = AGAINST[kind]("base")
    verdicts = verdicts_of(benchmark, {name: said(name, seed) for name in ("base", "mine", "other")}, seed)
    own = [at for at, one in enumerate(verdicts) if one.model == "mine"]
    gone = set(random.Random(seed).sample(own, lost))
    holed = [_without(one) if at in gone else one for at, one in enumerate(verdicts)]
    whole, found, allowed = (
        scored(benchmark, verdicts),
        scored(benchmark, holed),
        scored(benchmark, holed, allow_missing=True),
    )
    figure = rates(found, "mine")["win_rate"]
    assert figure.value is None and figure.missing >= lost and figure.rows == len(own)
    assert figure.bounds[0] < figure.bounds[1]
    assert rates(allowed, "mine")["win_rate"].value is not None
    if "held equal" not in kind:  # style is fitted over all models at once, and bounds are of the raw rate
        assert figure.bounds[0] - 1e-6 <= rates(whole, "mine")["win_rate"].value.estimate <= figure.bounds[1] + 1e-6
        for name, other in rates(whole, "other").items():
            assert rates(found, "other")[name].value.estimate == pytest.approx(other.value.estimate, abs=1e-6)


def _without(one: JudgeVerdict) -> JudgeVerdict:
    return replace(one, value=None, fault="no answer", facts={**one.facts, "label": None})


def test_a_verdict_comes_back_from_its_line_as_it_was():
    verdict = JudgeVerdict("7", "mine", "first", 0.25, {"len_1": 10, "switched": True}, "a judge")
    assert JudgeVerdict.of(json.loads(json.dumps(verdict.record))) == verdict


def test_a_verdict_without_value_keeps_its_reason():
    verdict = JudgeVerdict("7", "mine", "first", None, fault="no label")
    assert JudgeVerdict.of(verdict.record) == verdict


@pytest.mark.parametrize("record", [{"model": "m", "value": 1}, {"uid": "1", "model": "m", "value": float("nan")}])
def test_a_line_that_is_no_verdict_is_refused(record):
    with pytest.raises(DataError, match="is not a verdict"):
        JudgeVerdict.of(record)


@pytest.mark.parametrize(
    ("missing", "allowed", "withheld"), [(0, False, False), (1, False, False), (2, False, True), (2, True, False)]
)
def test_more_than_one_percent_missing_withholds_the_figure_unless_allowed(missing, allowed, withheld):
    assert is_withheld(missing, 100, allow_missing=allowed) is withheld


def test_nothing_left_withholds_the_figure_even_if_allowed():
    assert is_withheld(5, 5, allow_missing=True)
    assert is_withheld(0, 0, allow_missing=True)


def test_a_request_with_a_value_or_a_fault_needs_no_call():
    assert JudgeRequest("1", "m", "a").needs_call
    assert not JudgeRequest("1", "m", "a", value=0.5).needs_call
    assert not JudgeRequest("1", "m", "a", fault="no completion").needs_call


def verdict(uid: str, part: str, value: float | None, model: str = "m") -> JudgeVerdict:
    return JudgeVerdict(uid, model, part, value)


def test_both_orders_are_one_number_and_a_prompt_with_a_missing_one_is_left_out():
    rows = [verdict("a", "1", 0.2), verdict("b", "1", 1.0), verdict("a", "2", 0.6), verdict("b", "2", None)]
    assert average_by_prompt(rows) == {"m": {"a": 0.4}}


@given(st.permutations([verdict(uid, part, value) for uid, value in (("a", 0.1), ("b", 0.7)) for part in "12"]))
def test_the_order_of_rows_changes_no_mean(rows):
    assert average_by_prompt(rows) == {"m": {"a": 0.1, "b": 0.7}}
