from __future__ import annotations

import json

import pytest

from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeVerdict
from prefboost.evaluation.mt_bench.benchmark import MtBench
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


def questions(path):
    rows = [
        {"question_id": one.uid, "category": one.category, "turns": one.turns, "reference": one.reference}
        for one in PROMPTS
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_own_questions_are_asked_at_the_temperature_of_their_category(tmp_path):
    found = MtBench(prompts=questions(tmp_path / "q.jsonl")).prepare(Assets(offline=True), ["ours"])
    assert list(found.prompts) == PROMPTS
    assert [found.sampling(one).temperature for one in found.prompts] == [0.7, 0.0]
    assert found.given == {}


def test_pairs_are_against_the_first_model_a_named_one_or_a_file(tmp_path):
    file = questions(tmp_path / "q.jsonl")
    pairwise = MtBench(grading="pairwise", prompts=file)
    assert pairwise.prepare(Assets(offline=True), ["a", "b"]).benchmark.baseline == "a"
    said = tmp_path / "theirs.jsonl"
    said.write_text(json.dumps({"question_id": 81, "choices": [{"turns": ["x", "y"]}]}))
    found = pairwise.model_copy(update={"baseline": str(said)}).prepare(Assets(offline=True), ["a"])
    assert (found.benchmark.baseline, found.given) == ("theirs", {"theirs": {"81": ("x", "y")}})
    with pytest.raises(SettingsError, match="compared only with itself"):
        pairwise.prepare(Assets(offline=True), ["a"])
    with pytest.raises(SettingsError, match="pairwise grading needs a baseline"):
        pairwise.build(PROMPTS, SAID)


def test_what_is_not_here_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="mt_bench_references_gpt4_0125"):
        MtBench().prepare(Assets(offline=True, data_dir=tmp_path), ["ours"])


def test_verdicts_of_another_benchmark_are_refused():
    with pytest.raises(DataError, match="is not a verdict of mt_bench: it has no category, turn"):
        MtBench().score([JudgeVerdict("q", "m", "one", 0.5)])
