from __future__ import annotations

import json

import numpy as np
import pytest

from prefboost.evaluation.arena_hard import ArenaHard
from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeReply, JudgeVerdict
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)
HARD, CREATIVE = "o3-mini-2025-01-31", "gemini-2.0-flash-001"
PROMPTS = [
    BenchmarkPrompt(f"q{at}", (f"Q{at}",), "hard_prompt/coding" if at % 2 else "hard_prompt/math") for at in range(20)
]
PROMPTS += [BenchmarkPrompt(f"c{at}", (f"C{at}",), "creative_writing") for at in range(10)]


def completions(*models: str) -> dict[str, dict[str, list[str]]]:
    made = {name: {p.uid: [f"{name} on {p.uid}. " + "- point\n" * (len(name) % 4)] for p in PROMPTS} for name in models}
    hard = {p.uid: [f"base {p.uid}"] for p in PROMPTS if p.category.startswith("hard")}
    return {**made, HARD: hard, CREATIVE: {p.uid: [f"base {p.uid}"] for p in PROMPTS if p.uid[0] == "c"}}


def judged(benchmark: ArenaHard, given: dict[str, dict[str, list[str]]], reply=None) -> list[JudgeVerdict]:
    """A judge that likes the model in two of three prompts, whatever the order."""
    found = []
    for at, request in enumerate(benchmark.build(PROMPTS, given)):
        likes = int(request.uid[1:]) % 3 > 0
        text = f"[[{'B>A' if likes == (request.facts['game'] == 1) else 'A>B'}]]"
        found.append(benchmark.parse(request, reply(at) if reply else JudgeReply(text)))
    return found


def test_prompts_to_results_with_every_category_against_its_own_baseline():
    benchmark = ArenaHard(interval=QUICK, categories=("hard_prompt", "coding", "creative_writing"))
    requests = benchmark.build(PROMPTS, completions("ours"))
    assert len(requests) == 60
    assert {request.model for request in requests} == {"ours"}
    results = benchmark.score(judged(benchmark, completions("ours")))
    assert results.facts["baselines"] == {"hard_prompt": HARD, "coding": HARD, "creative_writing": CREATIVE}
    liked = 100 * np.mean([at % 3 > 0 for at in range(20)])
    assert results.figure("win_rate", "ours", "hard_prompt").value.estimate == pytest.approx(liked)
    assert results.figure("win_rate", "ours", "coding").rows == 20


def test_stored_verdicts_score_as_fresh_ones_style_control_included():
    benchmark = ArenaHard(interval=QUICK, control=("length",), categories=("hard_prompt",))
    verdicts = judged(benchmark, completions("ours", "theirs!"))
    stored = [JudgeVerdict.of(json.loads(json.dumps(verdict.record))) for verdict in verdicts]
    one, two = benchmark.score(verdicts), benchmark.score(stored)
    assert one.record() == two.record()
    assert "length held equal" in one.figures[0].note
    assert "length" in one.facts["style"]["hard_prompt"]


def test_a_missing_completion_is_a_fault_that_is_counted():
    given = completions("ours")
    del given["ours"]["q1"], given[HARD]["q2"]
    benchmark = ArenaHard(interval=QUICK)
    faults = [request.fault for request in benchmark.build(PROMPTS, given) if request.fault]
    assert (
        faults
        == ["the model has no completion of this prompt"] * 2 + ["the baseline has no completion of this prompt"] * 2
    )
    figure = benchmark.score(judged(benchmark, given)).figure("win_rate", "ours", "hard_prompt")
    assert (figure.value, figure.missing, figure.rows) == (None, 4, 40)
    assert benchmark.score(judged(benchmark, given), allow_missing=True).figure("win_rate", "ours", "hard_prompt").value


def test_replies_without_a_label_have_a_reason():
    benchmark = ArenaHard(interval=QUICK)
    request = benchmark.build(PROMPTS, completions("ours"))[0]
    verdict = benchmark.parse(request, JudgeReply("I cannot say"))
    assert (verdict.value, verdict.fault) == (None, "the reply holds no verdict label")
    assert benchmark.parse(request, JudgeReply(fault="no answer")).fault == "no answer"
    assert benchmark.parse(request, JudgeReply("[[A>>B]]")).facts["label"] == "A>>B"


def test_settings_load_from_their_dump():
    settings = ArenaHard(version="v0.1", control=("length",), baseline="x")
    assert ArenaHard(**settings.model_dump()) == settings
