from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from academic_files import write_academic_files
from stand_in_harness import SAYS, Template

from prefboost.errors import DataError, MissingExtra, ModelError
from prefboost.evaluation.academic.harness import ACADEMIC, Academic, academic, find_missing_data, read_samples
from prefboost.evaluation.academic.scores import compare_samples
from prefboost.progress import WorkProgress
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
    data = write_academic_files(tmp_path / "data")
    shutil.rmtree(data / "arc_challenge")
    academic(Template(), Academic(benchmarks=("gsm8k",), data_dir=data, interval=QUICK))
    (call,) = harness.asked
    assert call["tasks"] == ["gsm8k"]
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
    told: list[WorkProgress] = []
    one = Academic(benchmarks=("arc",), interval=QUICK)
    first = academic(Template(), one, tmp_path / "out")
    both = academic(
        Template(), one.model_copy(update={"benchmarks": ("arc", "bbh")}), tmp_path / "out", tell=told.append
    )
    assert [work.name for work in told] == ["arc: finished before", "bbh: begins"]
    assert [call["tasks"] for call in harness.asked] == [["arc_challenge"], ["leaderboard_bbh"]]
    assert both[0] == first[0]
    log = read_samples(tmp_path / "out" / "samples" / "arc.jsonl")
    assert compare_samples(log, log, how=QUICK)["none"].estimate == 0
    academic(Template(), one.model_copy(update={"limit": 1}), tmp_path / "out")
    assert len(harness.asked) == 3  # other settings are another measurement
    assert json.loads((tmp_path / "out" / "academic.json").read_text())["scores"][0]["settings"]["lm_eval"] == "0.fake"


def test_other_weights_in_the_same_folder_are_measured_anew_and_the_same_ones_elsewhere_are_not(harness, tmp_path):
    def make(folder: Path, weights: str, adapter: str = "1") -> tuple[Path, Academic]:
        for name, text in (("model", weights), ("lora", adapter)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            (folder / name / "model.safetensors").write_text(text)
        adapters = {"peft": str(folder / "lora")}
        return folder / "model", Academic(benchmarks=("arc",), interval=QUICK, model_args=adapters)

    for weights, adapter, runs in (("1", "1", 1), ("1", "1", 1), ("22", "1", 2), ("22", "22", 3)):
        academic(*make(tmp_path, weights, adapter), tmp_path / "out")
        assert len(harness.asked) == runs
    caches = {call["use_cache"] for call in harness.asked}
    assert len(caches) == 3, "answers of other weights are not found in lm-eval's cache either"
    plain = Academic(benchmarks=("arc",), interval=QUICK)
    for place in ("here", "there"):
        academic(make(tmp_path / place, "1")[0], plain, tmp_path / "moved")
    assert len(harness.asked) == 4


def test_without_lm_eval_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(MissingExtra, match=r"prefboost\[eval\]"):
        academic("model", Academic())


@pytest.fixture
def lm_eval(tmp_path, monkeypatch):
    """The real harness, whose prepared data stay in the test's folder."""
    pytest.importorskip("lm_eval.api.model", reason="lm-eval is not installed (the extra eval)")
    import datasets
    import lm_eval

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return lm_eval


@pytest.fixture
def counting(lm_eval):
    """A model of the real harness that prefers short answers, and keeps what it is asked."""

    class Counting(Template, lm_eval.api.model.LM):
        tokenizer_name = "counting"

        def __init__(self) -> None:
            lm_eval.api.model.LM.__init__(self)
            Template.__init__(self)
            self.asked: list[str] = []

        def chat_template(self, chat_template: bool | str = False) -> str:
            return "counting"

        def loglikelihood(self, requests: Any) -> list[tuple[float, bool]]:
            self.asked += [request.args[0] for request in requests]
            return [(-float(len(request.args[1])), False) for request in requests]

        def loglikelihood_rolling(self, requests: Any) -> list[float]:
            return [0.0 for _ in requests]

        def generate_until(self, requests: Any) -> list[str]:
            return [f"So 3 it is. {'#### ' if 'test: 2' in request.args[0] else ''}3" for request in requests]

    return Counting


@pytest.mark.slow
def test_the_real_harness_runs_on_local_files_with_the_goal_in_every_prompt(counting, tmp_path):
    data = write_academic_files(tmp_path / "data")
    settings = Academic(benchmarks=("gsm8k",), data_dir=data, system=SAYS, limit=4, interval=QUICK)
    (score,) = academic(counting(), settings, tmp_path / "out")
    # 2 and 1 make 3, which the model says with and without the mark that strict reading wants.
    assert {name: share.estimate for name, share in score.readings.items()} == {
        "strict-match": 25,
        "flexible-extract": 25,
    }
    assert score.readings["strict-match"].rows == 4
    assert score.settings["lm_eval"][0].isdigit()


def test_the_seed_orders_the_choices_of_gpqa_whatever_was_prepared_before(counting, tmp_path):
    data, orders = write_academic_files(tmp_path / "data"), []
    for seed in (0, 1, 0):
        model = counting()
        academic(model, Academic(benchmarks=("gpqa",), data_dir=data, seed=seed, interval=QUICK))
        orders.append(model.asked)
    assert orders[0] == orders[2] != orders[1]


def test_data_without_a_split_or_solved_examples_are_refused_by_name(counting, tmp_path):
    data = write_academic_files(tmp_path / "data")
    own = Academic(benchmarks=("arc", "gsm8k"), data_dir=data, interval=QUICK)
    assert find_missing_data(own) == []
    (data / "gsm8k" / "train.jsonl").unlink()
    with pytest.raises(DataError, match=r"gsm8k has 0 rows of the split train, of which .* takes 5 at least"):
        find_missing_data(own)
    (data / "arc_challenge" / "train.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(DataError, match=r"arc_challenge has 1 rows of the split train, of which .* takes 25 at least"):
        academic(counting(), own)


def write_tasks(lm_eval, folder, data):
    """Write tasks of lm-eval's own kind, with the same data; return their names."""
    folder.mkdir()
    names = []
    for name, benchmark in ACADEMIC.items():
        for path in sorted((Path(lm_eval.__file__).parent / "tasks").glob(benchmark.files)):
            task = re.search(r"^task: *(\S+)", path.read_text(), re.MULTILINE)[1]
            files = {file.stem: str(file) for file in sorted((data / task).glob("*.jsonl"))}
            if files:
                text = {"include": str(path), "task": f"own_{task}", "dataset_path": "json", "dataset_name": None}
                text |= {"dataset_kwargs": {"data_files": files}, "num_fewshot": benchmark.examples}
                (folder / f"{task}.yaml").write_text(yaml.safe_dump(text))
                names.append((name, task, benchmark.metric))
    return names


@pytest.mark.slow
@pytest.mark.torch
def test_figures_are_those_of_lm_evals_own_command(lm_eval, tiny_model, tmp_path, monkeypatch):
    data = write_academic_files(tmp_path / "data", 3)
    scores = {
        score.benchmark: score
        for score in academic(str(tiny_model), Academic(data_dir=data, interval=QUICK, system=SAYS), tmp_path / "out")
    }
    tasks = write_tasks(lm_eval, tmp_path / "tasks", data)
    command = ["lm_eval", "--model", "hf", "--model_args", f"pretrained={tiny_model}", "--device", "cpu"]
    command += ["--tasks", ",".join(f"own_{task}" for _, task, _ in tasks), "--include_path", str(tmp_path / "tasks")]
    command += ["--output_path", str(tmp_path / "own.json"), "--batch_size", "1"]
    command += ["--apply_chat_template", "--fewshot_as_multiturn", "true", "--system_instruction", SAYS]
    from lm_eval.__main__ import cli_evaluate

    monkeypatch.setattr(sys, "argv", command)
    cli_evaluate()
    (written,) = tmp_path.rglob("own*.json")
    own = json.loads(written.read_text())["results"]
    for benchmark, task, metric in tasks:
        score, figures = scores[benchmark], own[f"own_{task}"]
        if benchmark == "gsm8k":
            shares = {name: share.estimate for name, share in score.readings.items()}
        else:
            shares = {"none": score.tasks[task].estimate}
        assert shares == {name: pytest.approx(100 * figures[f"{metric},{name}"]) for name in shares}, task
    assert {benchmark for benchmark, _, _ in tasks} == set(ACADEMIC)
