from pathlib import Path

import pytest

from prefboost.cli.evaluate_arguments import read_evaluate
from prefboost.engines.local.engine import Local
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.errors import SettingsError


def parsed(*arguments, baseline=None, **options):
    return read_evaluate(arguments, baseline, options)


def test_models_files_benchmarks_goals_and_judge_are_told_apart():
    made = parsed(
        "runs/mine", "openai:gpt", "{kind: local, model: x, dtype: float32}", "b.json", "benchmarks=[pairwise]",
        "goal=10", "judge=openai:j", "judge.base_url=http://localhost:1/v1", "engine.dtype=float16", "temperature=0.5",
        "pairwise.prompts=p.txt", "mode=official",
    )  # fmt: skip
    assert [type(model) for model in made.models] == [Local, OpenAICompatible, Local]
    assert [made.models[0].dtype, made.models[2].dtype] == ["float16", "float16"]
    assert made.files == (Path("b.json"),)
    assert (made.goals, made.answering.temperature) == ((10.0,), 0.5)
    assert (made.judge.model, made.judge.base_url) == ("j", "http://localhost:1/v1")
    assert (made.benchmarks[0].kind, made.benchmarks[0].prompts, made.benchmarks[0].mode) == (
        "pairwise", Path("p.txt"), "official",
    )  # fmt: skip


def test_a_baseline_is_a_file_of_prompts_too_and_alpaca_eval_is_what_is_run():
    made = parsed("a.json", "kind=local", "model=dir", "rules.interval.resamples=200", baseline=Path("base.json"))
    only = made.benchmarks[0]
    assert (only.kind, only.prompts, only.baseline) == ("alpaca_eval", Path("base.json"), "base.json")
    assert only.interval.resamples == 200
    assert made.judge == Local(model="dir")


def test_a_recording_is_a_model_although_it_ends_like_a_file():
    made = parsed("replay:a.jsonl", "goals=[1,10]")
    assert (made.models[0].kind, made.files, made.goals) == ("replay", (), (1.0, 10.0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m", "jugde=x"], "did you mean judge"),
        (["m", "dtype=float32"], "settings here"),
        (["m", "engine.dtpe=float32"], "dtpe"),
        (["m", "benchmarks=[alpaca]"], "alpaca_eval"),
        (["m", "benchmarks={a: 1}"], "write benchmarks="),
        (["m", "alpaca_eval.mod=official"], "mod"),
        ([], "no completions to judge"),
    ],
)
def test_mistakes_are_named_with_what_there_is(arguments, said):
    with pytest.raises(SettingsError) as caught:
        parsed(*arguments)
    assert said in str(caught.value)
