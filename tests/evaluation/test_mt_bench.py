from __future__ import annotations

import json

import pytest

from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeVerdict
from prefboost.evaluation.mt_bench import MtBench
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)
PROMPTS = [
    BenchmarkPrompt("81", ("Write", "Shorter"), "writing"),
    BenchmarkPrompt("111", ("1+1?", "Times 2?"), "math", ("2", "4")),
]
SAID = {"ours": {"81": ["a", "b"], "111": ["2", "4"]}, "base": {"81": ["c", "d"], "111": ["3", "5"]}}


def test_grades_by_turn_and_category():
    benchmark = MtBench(interval=QUICK)
    requests = benchmark.build(PROMPTS, {"ours": SAID["ours"]})
    assert [(r.uid, r.part, r.facts["template"]) for r in requests] == [
        ("81", "turn1", "single-v1"), ("81", "turn2", "single-v1-multi-turn"),
        ("111", "turn1", "single-math-v1"), ("111", "turn2", "single-math-v1-multi-turn"),
    ]  # fmt: skip
    verdicts = [
        benchmark.parse(r, JudgeReply(f"[[{grade}]]")) for r, grade in zip(requests, (8, 6, 10, 4), strict=True)
    ]
    stored = [JudgeVerdict.of(json.loads(json.dumps(verdict.record))) for verdict in verdicts]
    results = benchmark.score(stored)
    values = {figure.group: figure.value.estimate for figure in results.figures}
    assert values == {"": 7, "turn 1": 9, "turn 2": 5, "writing": 7, "math": 7}


def test_pairs_are_judged_in_both_orders_and_the_baseline_is_not_rated():
    benchmark = MtBench(grading="pairwise", baseline="base", interval=QUICK)
    requests = benchmark.build(PROMPTS, SAID)
    assert len(requests) == 8
    verdicts = [benchmark.parse(r, JudgeReply("[[A]]" if r.facts["game"] == 1 else "[[B]]")) for r in requests]
    assert {verdict.value for verdict in verdicts} == {1.0}
    figure = benchmark.score(verdicts).figure("win_rate", "ours")
    assert figure.value.estimate == 100
    assert "agree on 100%" in figure.note


@pytest.mark.parametrize(
    ("prompt", "said", "fault"),
    [
        (BenchmarkPrompt("81", ("one",), "writing"), ["a"], "the prompt has 1 turns, not two"),
        (BenchmarkPrompt("111", ("a", "b"), "math"), ["a", "b"], "the judge has no reference for this prompt"),
        (BenchmarkPrompt("81", ("a", "b"), "writing"), ["a"], "the model did not complete both turns"),
    ],
)
def test_what_cannot_be_judged_is_a_fault_that_is_counted(prompt, said, fault):
    benchmark = MtBench(interval=QUICK)
    requests = benchmark.build([prompt], {"ours": {prompt.uid: said}})
    assert [request.fault for request in requests] == [fault] * 2
    figure = benchmark.score([benchmark.parse(request, JudgeReply()) for request in requests]).figures[0]
    assert (figure.value, figure.missing, figure.bounds) == (None, 2, (1, 10))


def test_a_missing_baseline_is_named():
    benchmark = MtBench(grading="pairwise", baseline="absent", interval=QUICK)
    requests = benchmark.build(PROMPTS, {"ours": SAID["ours"]})
    assert {request.fault for request in requests} == {"the baseline did not complete both turns"}


def test_a_reply_without_a_verdict_has_a_reason():
    benchmark = MtBench(interval=QUICK)
    verdict = benchmark.parse(benchmark.build(PROMPTS, SAID)[0], JudgeReply("fine"))
    assert (verdict.value, verdict.fault) == (None, "the reply holds no verdict in brackets")
