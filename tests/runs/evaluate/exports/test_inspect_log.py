"""Logs of inspect hold every prompt, completion, verdict and figure; `make compatibility` reads one with inspect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripted_engine import Scripted

from prefboost.evaluation.benchmark import BenchmarkPrompt, JudgeVerdict
from prefboost.evaluation.results import Figure, Results
from prefboost.runs.evaluate.evaluate import evaluate
from prefboost.runs.evaluate.exports import Outcome
from prefboost.runs.evaluate.exports.inspect_log import build_inspect_log, write_inspect_logs
from prefboost.runs.evaluate.settings import Evaluate
from prefboost.statistics import Interval

WIN = Interval(62.5, 40.0, 80.0, 0.95, 3, 3)
PROMPTS = (
    BenchmarkPrompt("a", ("Is ice cold?", "And tea?"), "water", reference=("Yes.", "No.")),
    BenchmarkPrompt("b", ("Is it?",), before=({"role": "system", "content": "Be brief."},)),
    BenchmarkPrompt("c", ("Why?",)),
)
VERDICTS = (
    JudgeVerdict("a", "new", "one", 1.0, {"len_1": 3}),
    JudgeVerdict("a", "new", "two", 0.5),
    JudgeVerdict("b", "new", "one", 0.25),
    JudgeVerdict("b", "new", "two", None, fault="the answer was cut at max_tokens"),
    JudgeVerdict("c", "new", "one", None, fault="the model has no completion"),
)
FIGURES = (Figure("win_rate", "new", WIN, 0, 3), Figure("win_rate", "new", None, 3, 3, group="water"))
OUTCOME = Outcome(
    Results("pairwise", "robust", FIGURES, alarms=("it says one thing",)),
    VERDICTS, PROMPTS, {"old": {"a": ["No.", "Yes."]}, "new": {"a": ["Yes.", "No."], "b": ["It is."]}}, {"new": 7.0},
)  # fmt: skip


def test_a_log_has_a_sample_for_every_prompt_and_counts_those_without_a_whole_verdict() -> None:
    log = build_inspect_log(OUTCOME, "new", "2026-01-02T03:04:05+00:00")
    first, second, third = log["samples"]
    assert [message["content"] for message in first["messages"]] == ["Is ice cold?", "Yes.", "And tea?", "No."]
    assert first["scores"]["pairwise"]["value"] == 0.75 and first["target"] == "Yes.\n\nNo."
    assert [row["value"] for row in first["scores"]["pairwise"]["metadata"]["verdicts"]] == [1.0, 0.5]
    assert second["input"][0]["role"] == "system" and second["output"]["completion"] == "It is."
    assert second["scores"] is None and second["metadata"]["faults"] == ["the answer was cut at max_tokens"]
    assert third["output"]["choices"] == [] and third["metadata"]["faults"] == ["the model has no completion"]
    [scores] = log["results"]["scores"]
    assert (scores["scored_samples"], scores["unscored_samples"], log["results"]["total_samples"]) == (1, 2, 3)


def test_figures_are_metrics_and_a_withheld_one_has_no_number() -> None:
    log = build_inspect_log(OUTCOME, "new", "2026-01-02T03:04:05+00:00")
    [scores] = log["results"]["scores"]
    assert {name: metric["value"] for name, metric in scores["metrics"].items()} == {"win_rate": 62.5}
    assert scores["metrics"]["win_rate"]["metadata"]["value"] == WIN.format()
    assert scores["metadata"]["withheld"] == {"win_rate/water": str(FIGURES[1])}
    assert log["eval"]["metadata"] == {"goal": 7.0, "mode": "robust", "alarms": ["it says one thing"]}


def test_a_measured_benchmark_is_logged_by_the_uids_of_its_questions(tmp_path: Path) -> None:
    for time in ("2026-01-02T03:04:05+00:00", "2026-01-03T03:04:05+00:00"):
        write_inspect_logs(tmp_path, Outcome(OUTCOME.results, VERDICTS[:3]), clock=lambda time=time: time)
    [path] = (tmp_path / "inspect").iterdir()  # written again, it keeps its file
    log = json.loads(path.read_text())
    assert path.name == f"2026-01-02T03-04-05_pairwise_{log['eval']['task_id']}.json"
    assert log["eval"]["created"] == "2026-01-03T03:04:05+00:00"
    assert [(sample["id"], sample["input"]) for sample in log["samples"]] == [("a", "a"), ("b", "b")]


def test_evaluate_writes_exports_where_they_are_asked_for_and_only_there(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Is ice cold?\nIs tea?\n")
    judge = Scripted.by(weigh=lambda prompt, choices: [-0.1, -3.0], name="judge")
    pairwise = {"kind": "pairwise", "prompts": tmp_path / "p.txt", "interval": {"resamples": 100}, "threads": 1}
    for exports in ((), ("inspect", "judgearena")):
        models = [Scripted.by(say=lambda prompt, words=words: words, name=words) for words in ("Yes.", "No way.")]
        settings = Evaluate(models=models, benchmarks=[pairwise], judge=judge, exports=exports)
        evaluate(settings, tmp_path / "out")
        assert (tmp_path / "out" / "inspect").exists() == (tmp_path / "out" / "judgearena").exists() == bool(exports)
    [path] = (tmp_path / "out" / "inspect").iterdir()  # of the baseline there are no verdicts
    log = json.loads(path.read_text())
    assert [sample["output"]["completion"] for sample in log["samples"]] == ["No way.", "No way."]
    assert log["results"]["scores"][0]["metrics"]["win_rate"]["value"] == pytest.approx(50.0)
