from __future__ import annotations

import json
import shutil

import pytest
from academic_files import write_academic_files
from stand_in_harness import SAYS

from prefboost.chat import SayGoal
from prefboost.engines.engine import Request
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.engines.pool import work_with
from prefboost.engines.replay import Replay
from prefboost.errors import DataError, ModelError, SettingsError
from prefboost.evaluation.academic.benchmark import AcademicSet, configure_contest, find_goal_text
from prefboost.evaluation.assets import Assets
from prefboost.evaluation.protocols import Contestant
from prefboost.statistics import Bootstrap

SAY = SayGoal(wording="Answer with a score of {{ goal }}.")
QUICK = Bootstrap(resamples=100)


class Echo:
    """An engine whose template says goals by itself, or not."""

    def __init__(self, says: bool) -> None:
        self.says_goals = says

    def render(self, request: Request) -> str:
        said = f"<system>Score: {request.goal:g}." if self.says_goals and request.goal else ""
        return said + "".join(f"<{turn['role']}>{turn['content']}" for turn in request.prompt)


class Weights(Local):
    """A local model that is never loaded."""

    says: bool = False

    def open(self):
        return Echo(self.says)


def contestants(folder, *goals):
    folder.mkdir(exist_ok=True)
    return [
        Contestant("m" if goal is None else f"m@{goal}", Weights(model=str(folder), dtype="float32"), goal, SAY)
        for goal in goals
    ]


def files(folder, *tasks):
    write_academic_files(folder)
    for left in [place for place in folder.iterdir() if place.name not in tasks]:
        shutil.rmtree(left)
    return folder


def test_every_goal_is_said_and_every_question_is_kept_for_comparisons(harness, tmp_path):
    own = AcademicSet(benchmarks=("gsm8k", "arc"), interval=QUICK)
    told = []
    found = own.measure(
        contestants(tmp_path / "m", None, 10.0), Assets(data_dir=files(tmp_path / "data", "gsm8k", "arc_challenge")),
        folder=tmp_path / "out", limit=7, tell=told.append,
    )  # fmt: skip
    assert [call["system_instruction"] for call in harness.asked] == [None, None, SAYS, SAYS]
    assert {call["limit"] for call in harness.asked} == {7}
    results = found.results
    assert results.figure("accuracy_flexible_extract", "m@10.0", "gsm8k").value.estimate == 100
    assert results.figure("accuracy", "m", "arc").value.estimate == 50
    assert results.record()["schema"] == 1
    kept = {(one.model, one.facts["group"]) for one in found.verdicts}
    assert ("m@10.0", "gsm8k, strict-match") in kept and ("m", "arc") in kept
    assert told[-1].name == "m@10.0, arc: begins"
    assert (tmp_path / "out" / "m@10.0" / "samples" / "arc.jsonl").is_file()


def test_a_goal_that_is_missing_in_a_rendered_prompt_ends_the_run(harness, tmp_path):
    harness.says = "<user>?"
    own = AcademicSet(benchmarks=("arc",), data_dir=files(tmp_path / "data", "arc_challenge"))
    with pytest.raises(ModelError, match="4 of 4 rendered prompts do not contain"):
        own.measure(contestants(tmp_path / "m", 10.0), Assets(), folder=tmp_path / "out")


def test_what_is_not_here_is_named_before_anything_is_computed(harness, tmp_path):
    two = AcademicSet(benchmarks=("gsm8k", "arc"))
    who = contestants(tmp_path / "m", None)
    data = files(tmp_path / "data", "gsm8k")
    for assets, said in (
        (Assets(data_dir=data, offline=True), r"has no data of arc[\s\S]*academic.benchmarks=\[gsm8k\]"),
        (Assets(offline=True), "data of gsm8k, arc may not be fetched from the hub"),
        (Assets(), "or set assets.download"),
    ):
        with pytest.raises(DataError, match=said):
            two.measure(who, assets, folder=tmp_path / "out")
    assert harness.asked == []


def test_a_template_that_says_goals_by_itself_gets_the_number(tmp_path):
    (tmp_path / "m").mkdir()
    one = Contestant("m@7", Weights(model=str(tmp_path / "m"), says=True), 7.0)
    _, settings = configure_contest(AcademicSet(), one)
    assert (settings.template_options, settings.system) == ({"goal": 7.0}, None)
    assert "Score: 7." in settings.must_contain
    assert find_goal_text(Echo(True), 3.0) in Echo(True).render(Request([{"role": "user", "content": "x"}], 0, 3.0))


def test_models_are_reached_as_lm_eval_reaches_them(tmp_path):
    (tmp_path / "m").mkdir()
    local = Contestant("m", Local(model=str(tmp_path / "m"), dtype="float32", device="cpu"))
    model, settings = configure_contest(AcademicSet(model_args={"parallelize": True}), local)
    assert (model, settings.backend) == (str(tmp_path / "m"), "hf")
    assert settings.model_args == {
        "dtype": "float32", "trust_remote_code": False, "device": "cpu", "parallelize": True,
    }  # fmt: skip
    served = OpenAICompatible(model="m", base_url="http://h/v1", tokenizer="t")
    assert (
        configure_contest(AcademicSet(), Contestant("m", served))[1].model_args["base_url"] == "http://h/v1/completions"
    )
    several = OpenAICompatible(model="m", base_urls=("http://i/v1", "http://j/v1"), tokenizer="t")
    assert configure_contest(AcademicSet(), Contestant("m", several))[1].model_args["base_url"].startswith("http://i/")
    with pytest.raises(SettingsError, match="its tokenizer is not named"):
        configure_contest(AcademicSet(), Contestant("m", OpenAICompatible(model="m")))
    with pytest.raises(SettingsError, match="m runs in replay"):
        configure_contest(AcademicSet(), Contestant("m", Replay(path="r.jsonl")))


def test_settings_load_from_their_dump():
    settings = AcademicSet(benchmarks=("arc",), limit=3)
    assert AcademicSet(**json.loads(settings.model_dump_json())) == settings


def test_a_pool_is_refused_by_name_and_a_server_is_asked_all_the_same(harness, tmp_path):
    (weights,) = contestants(tmp_path / "m", None)
    server = OpenAICompatible(model="m", base_url="http://localhost/v1", tokenizer=str(tmp_path / "m"))
    own = AcademicSet(benchmarks=("arc",), data_dir=files(tmp_path / "data", "arc_challenge"), interval=QUICK)
    with work_with(NotImplemented):
        with pytest.raises(SettingsError, match="m would be loaded by lm-evaluation-harness in this process"):
            own.measure([Contestant("served", server), weights], Assets(), folder=tmp_path / "out")
        assert not harness.asked  # told before anything was computed
        assert configure_contest(own, Contestant("served", server))[1].backend == "local-completions"
