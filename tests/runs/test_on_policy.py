"""The stages of on-policy rounds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from prefboost.recipes.documents import parse, with_overrides
from prefboost.recipes.load import of_kind
from prefboost.recipes.on_policy import OnPolicy
from prefboost.runs import recipe_run
from prefboost.runs.on_policy import _Stages, on_policy_stages
from prefboost.runs.run import Run


def made(text: str, *overrides: str) -> OnPolicy:
    found = of_kind(with_overrides(parse(text), overrides))
    assert isinstance(found, OnPolicy)
    return found


def stale(text: str, runs: Path, *overrides: str) -> set[str]:
    return {each.stage.name for each in recipe_run.plan(made(text, *overrides), runs) if not each.done}


@pytest.mark.torch
def test_each_round_generates_scores_pairs_trains_and_is_measured(on_policy_text: str, finished_rounds: Path) -> None:
    folder = finished_rounds / "tiny"
    for number in (1, 2):
        completions = pl.read_parquet(folder / f"round-{number}" / "completions.parquet")
        assert completions.group_by("prompt_id").len()["len"].to_list() == [4] * 8
        assert completions["goal"].null_count() == 16  # mixture: two of four are asked for nothing
        asked = completions["prompt"].list.eval(pl.element().struct.field("content")).list.join(" ")
        assert not asked.str.contains("target scores").any()  # the prompts stand as they were given
        pairs = pl.read_parquet(folder / f"round-{number}" / "pairs.parquet")
        assert pairs["view"].value_counts().height == 2
        found = json.loads((folder / f"round-{number}" / "evaluation.json").read_text())
        assert found["goal"] == 10.0 and found["score"]["clusters"] == 3 and found["score"]["rows"] == 6
        assert found["gain"]["low"] <= found["gain"]["estimate"] <= found["gain"]["high"]
    held = set(pl.read_parquet(folder / "start" / "held_out.parquet")["prompt_id"])
    trained = set(pl.read_parquet(folder / "round-1" / "completions.parquet")["prompt_id"])
    assert len(held) == 3 and not held & trained


@pytest.mark.torch
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("rounds=2", set()),
        ("rounds=3", {f"round 3/{what}" for what in ("generate", "score", "pairs", "train", "evaluate")}),
        ("evaluate.bootstrap.seed=3", {"start/evaluate", "round 1/evaluate", "round 2/evaluate"}),
        (
            "train.seed=3",
            {
                "round 1/train",
                "round 1/evaluate",
                *(f"round 2/{what}" for what in ("generate", "score", "pairs", "train", "evaluate")),
            },
        ),
    ],
)
def test_a_change_repeats_what_depends_on_it_and_no_more(
    on_policy_text: str, finished_rounds: Path, override: str, expected: set[str]
) -> None:
    assert stale(on_policy_text, finished_rounds, override) == expected


@pytest.mark.torch
def test_only_stages_that_changed_are_run_again(on_policy_text: str, finished_rounds: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_rounds, tmp_path / "runs")
    report = recipe_run.run(made(on_policy_text, "evaluate.n=1"), tmp_path / "runs")
    assert {each.stage for each in report.stages if each.why is not None} == {
        "start/evaluate", "round 1/evaluate", "round 2/evaluate",
    }  # fmt: skip
    assert list(report.measured) == ["start/evaluate", "round 1/evaluate", "round 2/evaluate"]
    assert report.measured["round 1/evaluate"]["score"]["rows"] == 3


@pytest.mark.torch
def test_a_later_round_begins_with_the_last_policy_and_is_compared_with_what_the_recipe_says(
    on_policy_text: str, tmp_path: Path
) -> None:
    def training(*overrides: str) -> tuple[str, str]:
        recipe = made(on_policy_text, *overrides)
        settings = _Stages(recipe, Run(tmp_path), None).training(2)
        return settings.model.replace(recipe.train.model, "START"), settings.reference.replace(
            recipe.train.model, "START"
        )

    last = str(tmp_path.resolve() / "round-1" / "model")
    assert training() == (last, "START")
    assert training("reference=last") == (last, "start")
    assert training("begin=start") == ("START", "start")
    assert training("begin=start", "reference=last") == ("START", last)
    assert training("train.loss=simpo", "train.reference=none") == (last, "none")


@pytest.mark.torch
def test_what_a_later_policy_was_compared_with_is_recorded(finished_rounds: Path, tiny_model: Path) -> None:
    facts = json.loads((finished_rounds / "tiny" / "round-2" / "model" / "prefboost.json").read_text())
    assert facts["train"]["reference"] == str(tiny_model)
    assert facts["train"]["model"].endswith("round-1/model")
    assert facts["top"] == 10.0


@pytest.mark.torch
def test_several_attributes_are_asked_for_trained_on_and_measured(on_policy_text: str, tmp_path: Path) -> None:
    several = (
        "rounds=1",
        "scorer={kind: 'hash_scorer:HashScorer'}",
        "relabel={kind: reward_augmented, aspects: [depth, style]}",
        "generate.goal=top",
        "evaluate.start=false",
    )
    report = recipe_run.run(made(on_policy_text, *several), tmp_path)
    pairs = pl.read_parquet(tmp_path / "tiny" / "round-1" / "pairs.parquet")
    assert {"goal.depth", "goal.style"} <= set(pairs.columns) and pairs["goal"].null_count() == pairs.height
    measured = report.measured["round 1/evaluate"]
    assert measured["goal"] == {"depth": 10.0, "style": 10.0}
    assert {"depth", "style"} <= measured["aspects"].keys()


@pytest.mark.torch
def test_best_of_n_fine_tuning_is_a_recipe(on_policy_text: str, tmp_path: Path) -> None:
    sft = (
        "rounds=1",
        "scorer={kind: 'hash_scorer:HashScorer'}",
        "relabel=plain",
        "generate.goal=plain",
        "train.loss={kind: sft}",
        "train.reference=none",
        "evaluate=null",
        "keep={kind: best_of_n, count: 2}",
    )
    report = recipe_run.run(made(on_policy_text, *sft), tmp_path)
    assert [each.stage for each in report.stages] == [
        "prompts", "round 1/generate", "round 1/score", "round 1/pairs", "round 1/train",
    ]  # fmt: skip
    pairs = next(each for each in report.stages if each.stage == "round 1/pairs")
    assert pairs.notes["rejected"]["the completion was not selected by its score"] > 0
    assert report.measured == {} and report.model is not None


def test_stages_are_named_by_round_and_each_depends_on_earlier_ones(on_policy_text: str, tmp_path: Path) -> None:
    stages = on_policy_stages(made(on_policy_text), Run(tmp_path))
    names = [stage.name for stage in stages]
    assert names[:3] == ["prompts", "start/evaluate", "round 1/generate"] and len(set(names)) == 12
    for position, stage in enumerate(stages):
        assert set(stage.after) <= set(names[:position])
