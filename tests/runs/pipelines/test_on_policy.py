"""The stages of on-policy rounds."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FaultyServer
from vllm_like import VllmLike

from prefboost.errors import ModelError, PrefboostError, RunError
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.recipes.on_policy import OnPolicy
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines import rounds
from prefboost.runs.pipelines import run as recipe_run
from prefboost.runs.pipelines.on_policy import _Stages, build_on_policy_stages
from prefboost.runs.pipelines.run import RunReport


def made(text: str, *overrides: str) -> OnPolicy:
    found = of_kind(apply_overrides(parse(text), overrides))
    assert isinstance(found, OnPolicy)
    return found


def stale(text: str, runs: Path, *overrides: str) -> set[str]:
    return {each.stage.name for each in recipe_run.plan_run(made(text, *overrides), runs) if not each.done}


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
        settings = _Stages(recipe, Run(tmp_path), None).build_training(2)
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


@pytest.fixture
def two_heads(tiny_model: Path, tmp_path: Path) -> Path:
    """A reward model with two named heads, both drawn at random."""
    import torch

    from prefboost.engines.models.reward_model import load_reward_model

    torch.manual_seed(0)
    found = load_reward_model(str(tiny_model), "float32", heads=["helpful", "brief"])
    found.model.save_pretrained(tmp_path / "judge")
    found.tokenizer.save_pretrained(tmp_path / "judge")
    return tmp_path / "judge"


@pytest.mark.torch
def test_heads_of_a_reward_model_become_attributes_that_are_trained_asked_for_and_measured(
    on_policy_text: str, two_heads: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    several = (
        f"scorer={{kind: reward_model, model: {json.dumps(str(two_heads))}, dtype: float32}}",
        "scale={kind: percentile}",
        "relabel={kind: reward_augmented, aspects: [helpful, brief], weights: {helpful: 2}}",
        "evaluate.start=false",
    )
    report = recipe_run.run(made(on_policy_text, *several), tmp_path / "runs")
    folder = tmp_path / "runs" / "tiny"
    facts = json.loads((folder / "round-2" / "model" / "prefboost.json").read_text())
    for number in (1, 2):
        scored = pl.read_parquet(folder / f"round-{number}" / "scored.parquet")
        means = (scored["score.helpful"] + scored["score.brief"]) / 2
        assert (scored["score"] - means).abs().max() < 1e-9  # type: ignore[operator]
        pairs = pl.read_parquet(folder / f"round-{number}" / "pairs.parquet")
        assert pairs["goal"].null_count() == pairs.height > 0
        for name in ("helpful", "brief"):
            assert pairs[f"goal.{name}"].is_between(1, 10).all()
        goals = pairs.select("goal.helpful", "goal.brief", said=pl.col("prompt").list.last().struct.field("content"))
        system = pairs["prompt"].list.first().struct.field("content")
        for (helpful, brief, said), first in zip(goals.iter_rows(), system, strict=True):
            assert f"Helpful score: {helpful:g}" in first + said and f"Brief score: {brief:g}" in first + said
        measured = report.measured[f"round {number}/evaluate"]
        assert measured["goal"] == {"helpful": 10.0, "brief": 10.0} and set(measured["aspects"]) == {"helpful", "brief"}
    assert set(facts["scales"]) >= {"helpful", "brief"} and facts["top_aspects"] == {"helpful": 10.0, "brief": 10.0}
    tokenizer = AutoTokenizer.from_pretrained(str(report.model))
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False, aspects={"brief": 2})
    assert "Brief score: 2" in asked


def rating(prompt: str, seed: int, place: int) -> str:
    return json.dumps({"ratings": [{"candidate": 1, "reason": "so", "rating": 1 + len(prompt) % 10}]})


@pytest.mark.torch
def test_a_scorer_stops_before_its_budget_is_exceeded_and_goes_on_once_there_is_more(
    on_policy_text: str, tmp_path: Path
) -> None:
    with FaultyServer(answer=rating) as server:
        engine = f"{{kind: openai_compatible, model: m, base_url: '{server.base_url}', concurrency: 1}}"
        rater = f"scorer={{kind: rater, engine: {engine}}}"

        def run(budget: int, until: str) -> RunReport:
            wanted = made(on_policy_text, rater, "evaluate=null", f"budget={{requests: {budget}}}")
            return recipe_run.run(wanted, tmp_path, until=until)

        with pytest.raises(RunError, match=r"the budget \(requests 10\) is used up: 10 requests"):
            run(10, "round 1/score")
        assert server.calls == 10
        report = run(60, "round 1/score")
        generated, scored = report.stages[-2:]
        assert generated.why is None and scored.notes["rows"] == 44
        first = server.calls
        assert 10 < first <= 44, "nothing is asked twice"
        with pytest.raises(RunError, match="budget"):
            run(first + 1, "round 2/score")
        assert server.calls == first + 1, "the budget is that of all rounds"


@pytest.mark.torch
def test_a_chat_template_of_the_recipe_is_what_the_start_model_completes_by(
    on_policy_text: str, tiny_model: Path, tmp_path: Path
) -> None:
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    template = (bare / "chat_template.jinja").read_text()
    (bare / "chat_template.jinja").unlink()
    shorter = ("generate.goal=plain", f"train.model={json.dumps(str(bare))}", "rounds=1")
    with pytest.raises(ModelError, match="has no chat template"):
        recipe_run.run(made(on_policy_text, *shorter), tmp_path / "without", until="round 1/generate")
    (tmp_path / "own.jinja").write_text("{# ours #}" + template)
    named = (*shorter, f"train.chat_template={json.dumps(str(tmp_path / 'own.jinja'))}")
    report = recipe_run.run(made(on_policy_text, *named), tmp_path / "runs")
    assert report.stages[2].notes["rows"] == 32 and report.measured["round 1/evaluate"]["score"]["rows"] == 6
    (tmp_path / "own.jinja").write_text("{# changed #}" + template)
    assert stale(on_policy_text, tmp_path / "runs", *named) >= {"start/evaluate", "round 1/generate"}
    stages = _Stages(made(on_policy_text, *named), Run(tmp_path), None)
    assert stages._policy(0).chat_template is not None and stages._policy(1).chat_template is None


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
    stages = build_on_policy_stages(made(on_policy_text), Run(tmp_path))
    names = [stage.name for stage in stages]
    assert names[:3] == ["prompts", "start/evaluate", "round 1/generate"] and len(set(names)) == 12
    for position, stage in enumerate(stages):
        assert set(stage.after) <= set(names[:position])


def test_the_first_prompts_that_ask_for_a_score_depend_on_the_range_that_the_scorer_declares(
    on_policy_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settings(ends: tuple[float, float] | None) -> dict[str, Any]:
        monkeypatch.setattr(rounds, "read_declared_range", lambda _: ends)
        stages = build_on_policy_stages(made(on_policy_text), Run(tmp_path))
        return {stage.name: stage.settings.get("scorer range") for stage in stages if stage.name.endswith("generate")}

    assert settings((0.0, 1.0)) == {"round 1/generate": (0.0, 1.0), "round 2/generate": None}
    assert settings(None) == {"round 1/generate": None, "round 2/generate": None}


@pytest.mark.torch
def test_rounds_complete_at_servers_that_are_given_each_policy_and_outlive_one_of_them(
    on_policy_text: str, tiny_model: Path, tmp_path: Path
) -> None:
    def answer(prompt: str, seed: int, place: int) -> str:
        return "A sentence of words. " * (1 + seed % 9)

    def die(body: dict[str, Any], number: int) -> str | None:
        if sum(what == "reload" for what, _ in dying.log) < 3 or ends:
            return "hang" if ends else None
        ends.append(threading.Thread(target=dying.__exit__, args=(None, None, None)))
        ends[0].start()
        return "hang"

    ends: list[threading.Thread] = []
    dying = VllmLike(answer=answer, script=die)
    dying.__enter__()
    with VllmLike(answer=answer) as steady:
        addresses = json.dumps([steady.base_url, dying.base_url])
        engine = f"{{kind: openai_compatible, model: m, base_urls: {addresses}, hand_over: reload, backoff_s: 0.01}}"
        recipe = made(on_policy_text, f"generate.engine={engine}", "evaluate=null", "train.max_steps=1")
        recipe_run.run(recipe, tmp_path, until="round 2/generate")
    ends[0].join()
    start, policy = str(tiny_model), str(tmp_path / "tiny" / "round-1" / "model")
    # Twice a round: completions that ask for nothing, and those that ask for the highest score, have a store each.
    assert [held for what, held in steady.log if what == "reload"] == [start, start, policy, policy]
    assert [held for what, held in dying.log if what == "reload"] == [start, start, policy]
    for number, weights in ((1, start), (2, policy)):
        completions = pl.read_parquet(tmp_path / "tiny" / f"round-{number}" / "completions.parquet")
        texts = completions["completion"].list.last().struct.field("content")
        assert len(texts) == 44 and texts.str.ends_with(f" by {weights}").all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["rounds=2", "train.lora={rank: 2}"], "write begin: start"),
        (["rounds=1"], "none is trained"),
    ],
)
def test_adapters_go_to_servers_only_where_they_fit_what_these_have(
    changes: list[str], words: str, on_policy_text: str, tmp_path: Path
) -> None:
    engine = "generate.engine={kind: openai_compatible, hand_over: lora}"
    with pytest.raises(PrefboostError, match=words):
        made(on_policy_text, engine, *changes)
    recipe = made(on_policy_text, engine, "train.lora={rank: 2}", "begin=start")
    stages = _Stages(recipe, Run(tmp_path / "runs"), None)
    settings: Any = [stages._policy(number).engine(recipe.generate.engine) for number in (0, 1)]
    assert settings[0].model == settings[1].model == recipe.train.model and settings[0].weights is None
    assert settings[1].weights == str(tmp_path / "runs" / "round-1" / "model" / "adapter")
