from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from stand_in_harness import SAYS, Template

from prefboost.errors import DataError, MissingExtra, ModelError
from prefboost.evaluation.academic.harness import ACADEMIC, Academic, academic, read_samples
from prefboost.evaluation.academic.scores import compare_samples
from prefboost.statistics import Bootstrap

QUICK = Bootstrap(resamples=100)


def test_every_benchmark_is_run_with_its_leaderboards_settings(harness):
    scores = academic(Template(), Academic(system=SAYS, interval=QUICK))
    assert [score.benchmark for score in scores] == ["gsm8k", "gpqa", "musr", "truthfulqa", "bbh", "arc"]
    assert [(call["tasks"], call["num_fewshot"]) for call in harness.asked] == [
        (["gsm8k"], 5), (["leaderboard_gpqa"], 0), (["leaderboard_musr"], 0), (["truthfulqa_mc2"], 0),
        (["leaderboard_bbh"], 3), (["arc_challenge"], 25),
    ]  # fmt: skip
    for call in harness.asked:
        assert (call["system_instruction"], call["apply_chat_template"], call["log_samples"]) == (SAYS, True, True)
    assert {name: one.estimate for name, one in scores[0].readings.items()} == {
        "strict-match": 0,
        "flexible-extract": 100,
    }
    assert scores[1].readings["none"].estimate == 50
    assert [ACADEMIC[score.benchmark].leaderboard for score in scores] == ["v1", "v2", "v2", "v1", "v2", "v1"]


def test_a_template_that_drops_the_system_message_is_refused_before_anything_is_computed(harness):
    with pytest.raises(ModelError, match="1 of 1 rendered prompts do not contain"):
        academic(Template(drops=True), Academic(system=SAYS))
    assert harness.asked == []
    academic(
        Template(drops=True), Academic(benchmarks=("arc",), interval=QUICK)
    )  # nothing is said, nothing can be lost


def test_a_goal_that_is_missing_in_one_rendered_prompt_is_noticed_afterwards(harness):
    harness.says = "<user>?"
    with pytest.raises(ModelError, match="4 of 4 rendered prompts"):
        academic(Template(), Academic(benchmarks=("arc",), system=SAYS))


def test_what_a_checkpoint_says_by_itself_is_looked_for_too(harness):
    with pytest.raises(ModelError, match="do not contain 'Overall score: 10'"):
        academic(Template(), Academic(benchmarks=("arc",), must_contain="Overall score: 10"))


def test_local_files_make_local_tasks_and_others_are_left_out(harness, tmp_path):
    data = tmp_path / "data"
    for name in ("train", "test"):
        (data / "gsm8k").mkdir(parents=True, exist_ok=True)
        (data / "gsm8k" / f"{name}.jsonl").write_text("{}\n")
    academic(Template(), Academic(benchmarks=("gsm8k",), data_dir=data, interval=QUICK))
    (call,) = harness.asked
    assert call["tasks"] == ["gsm8k_local"]
    assert call["task_manager"].options["include_defaults"] is False
    assert (
        "dataset_path: json" in call["yaml"][0] and "train.jsonl" in call["yaml"][0] and "include: " in call["yaml"][0]
    )
    with pytest.raises(DataError, match="has data of none of arc_challenge"):
        academic(Template(), Academic(benchmarks=("arc",), data_dir=data))
    (data / "gsm8k" / "more.parquet").write_text("")
    with pytest.raises(DataError, match="files of several kinds"):
        academic(Template(), Academic(benchmarks=("gsm8k",), data_dir=data))


def test_finished_benchmarks_are_not_run_again_and_logs_are_kept(harness, tmp_path):
    told: list[str] = []
    one = Academic(benchmarks=("arc",), interval=QUICK)
    first = academic(Template(), one, tmp_path / "out")
    both = academic(
        Template(), one.model_copy(update={"benchmarks": ("arc", "bbh")}), tmp_path / "out", tell=told.append
    )
    assert told == ["arc: finished before", "bbh: begins"]
    assert [call["tasks"] for call in harness.asked] == [["arc_challenge"], ["leaderboard_bbh"]]
    assert both[0] == first[0]
    log = read_samples(tmp_path / "out" / "samples" / "arc.jsonl")
    assert compare_samples(log, log, how=QUICK)["none"].estimate == 0
    academic(Template(), one.model_copy(update={"limit": 1}), tmp_path / "out")
    assert len(harness.asked) == 3  # other settings are another measurement
    assert json.loads((tmp_path / "out" / "academic.json").read_text())["scores"][0]["settings"]["lm_eval"] == "0.fake"


def test_without_lm_eval_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtra, match=r"prefboost\[eval\]"):
        academic("model", Academic())


def questions(tmp_path, count=8):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    for name in ("train", "test"):
        rows = [{"question": f"{name} {at} + 1?", "answer": f"Well.\n#### {at + 1}"} for at in range(count)]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "data"


@pytest.mark.slow
def test_the_real_harness_runs_on_local_files_with_the_goal_in_every_prompt(tmp_path, monkeypatch):
    model = pytest.importorskip("lm_eval.api.model", reason="lm-eval is not installed (the extra eval)")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))

    class Counting(Template, model.LM):
        def __init__(self) -> None:
            model.LM.__init__(self)
            Template.__init__(self)

        tokenizer_name = "counting"

        def chat_template(self, chat_template: bool | str = False) -> str:
            return "counting"

        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            return [(-float(len(request.args[1])), False) for request in requests]

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            return [0.0 for _ in requests]

        def generate_until(self, requests: Any) -> list[str]:
            return [f"So 3 it is. {'#### ' if 'test 1' in request.args[0] else ''}3" for request in requests]

    settings = Academic(benchmarks=("gsm8k",), data_dir=questions(tmp_path), system=SAYS, limit=4, interval=QUICK)
    (score,) = academic(Counting(), settings, tmp_path / "out")
    assert score.readings["flexible-extract"].estimate == 25
    assert score.readings["strict-match"].estimate == 0
    assert score.readings["strict-match"].rows == 4
