from __future__ import annotations

import json

import numpy as np
import pytest

from prefboost.errors import DataError, SettingsError
from prefboost.evaluation.arena_hard.benchmark import ArenaHard
from prefboost.evaluation.assets import Assets
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


@pytest.fixture
def published(monkeypatch, tmp_path):
    """Small files in the place of the published ones."""
    rows = [
        {"uid": prompt.uid, "category": name, "subcategory": part, "prompt": prompt.turns[0]}
        for prompt in PROMPTS for name, _, part in [prompt.category.partition("/")]
    ]  # fmt: skip
    said = [{"uid": prompt.uid, "messages": [{"content": f"base {prompt.uid}"}]} for prompt in PROMPTS]
    files = {"questions": rows, "baseline": said, "creative_baseline": said}
    for name, own in files.items():
        (tmp_path / f"arena_hard_v20_{name}.jsonl").write_text("\n".join(map(json.dumps, own)))
    monkeypatch.setattr(Assets, "path", lambda self, name: tmp_path / f"{name}.jsonl")
    return tmp_path


def test_published_prompts_bring_the_baseline_of_every_wanted_category(published):
    found = ArenaHard().prepare(Assets(), ["ours"])
    assert (len(found.prompts), set(found.given)) == (30, {HARD, CREATIVE})
    assert found.sampling(found.prompts[0]).temperature == 0
    coding = ArenaHard(categories=("coding",)).prepare(Assets(), ["ours"])
    assert ({prompt.category for prompt in coding.prompts}, set(coding.given)) == ({"hard_prompt/coding"}, {HARD})
    assert set(ArenaHard().prepare(Assets(), ["ours", CREATIVE]).given) == {HARD}
    with pytest.raises(SettingsError, match=r"has no category code[\s\S]*coding, creative_writing"):
        ArenaHard(categories=("code",)).prepare(Assets(), ["ours"])


def test_another_baseline_is_a_model_of_the_run_or_a_file(published):
    assert ArenaHard(baseline="theirs").prepare(Assets(), ["ours", "theirs"]).benchmark.baseline == "theirs"
    path = published / "other.jsonl"
    path.write_text(json.dumps({"instruction": "Q3", "output": "said"}))
    found = ArenaHard(baseline=str(path)).prepare(Assets(), ["ours"])
    assert (found.benchmark.baseline, found.given) == ("other", {"other": {"q3": ("said",)}})


def test_own_prompts_are_compared_with_the_first_model(tmp_path):
    (tmp_path / "own.txt").write_text("one\ntwo\n")
    found = ArenaHard(prompts=tmp_path / "own.txt", interval=QUICK).prepare(Assets(offline=True), ["a", "b"])
    said = {name: {prompt.uid: [f"{name} {prompt.uid}"] for prompt in found.prompts} for name in "ab"}
    requests = found.benchmark.build(found.prompts, said)
    assert {request.model for request in requests} == {"b"}
    results = found.benchmark.score([found.benchmark.parse(one, JudgeReply("[[A=B]]")) for one in requests])
    assert results.figure("win_rate", "b").value.estimate == 50


def test_what_is_not_here_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match="arena_hard_v20_questions"):
        ArenaHard().prepare(Assets(offline=True, data_dir=tmp_path), ["ours"])


def test_verdicts_of_another_benchmark_are_refused():
    with pytest.raises(DataError, match="is not a verdict of arena_hard: it has no category, game"):
        ArenaHard().score([JudgeVerdict("q", "m", "one", 0.5)])
