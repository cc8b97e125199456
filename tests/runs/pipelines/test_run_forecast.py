"""What recipes of every kind are forecast to take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.forecast import RunForecast
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines import run as recipe_run
from prefboost.runs.pipelines.run_forecast import forecast_run

TRAIN = "precision: fp32, batch_size: 4, learning_rate: 1.0e-3, max_length: 1000, max_prompt_length: 700"


def pairs_file(path: Path, name: str, count: int) -> Path:
    rows = [{"prompt": f"{name} {n}", "chosen": f"z{n % 5}", "rejected": f"y{n % 7}"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def compare(text: str, runs: Path, *overrides: str) -> tuple[RunForecast, RunForecast, dict[str, dict[str, object]]]:
    """Forecast a recipe before and after its run; return both, and the notes of its stages."""
    recipe = of_kind(apply_overrides(parse(text), overrides))
    folder = Run(runs / recipe.name)
    before = forecast_run(recipe, folder, recipe_run.plan_run(recipe, runs))
    assert not folder.path.exists(), "nothing is written"
    report = recipe_run.run(recipe, runs)
    after = forecast_run(recipe, folder, recipe_run.plan_run(recipe, runs))
    return before, after, {each.stage: dict(each.notes) for each in report.stages}


@pytest.mark.torch
def test_an_offline_recipe_is_forecast_as_train_does(tiny_model: Path, tmp_path: Path) -> None:
    data = Path(__file__).parents[3] / "examples" / "scored.jsonl"
    text = f"name: mine\ndata: {data}\ntrain: {{model: {json.dumps(str(tiny_model))}, {TRAIN}}}\n"
    before, after, notes = compare(text, tmp_path)
    training = before.stages["train"]["training"]
    assert (
        training.counts["pairs"] == notes["pairs"]["goal_pairs"] and training.counts["steps"] == notes["train"]["steps"]
    )
    assert list(before.stages) == ["train"] and not after.stages and not list(after.lines())


@pytest.mark.torch
def test_every_reward_model_is_forecast_with_the_pairs_that_it_gets(tiny_model: Path, tmp_path: Path) -> None:
    files = {
        name: pairs_file(tmp_path / f"{name}.jsonl", name, count) for name, count in (("a", 9), ("b", 7), ("t", 5))
    }
    text = (
        f"kind: reward\nname: rewards\nparts: {{a: {files['a']}, b: {files['b']}}}\ntest: {files['t']}\n"
        f"train: {{model: {json.dumps(str(tiny_model))}, precision: fp32, batch_size: 4}}\n"
        "accuracy: {batch_check: 0, interval: {resamples: 200}}\n"
    )
    before, after, notes = compare(text, tmp_path / "runs")
    for model in ("a", "b", "a+b"):
        training = before.stages[f"{model}/train"]["training"]
        assert training.counts["pairs"] == notes[f"{model}/pairs"]["rows"] == 7
        assert training.counts["steps"] == notes[f"{model}/train"]["steps"]
        assert before.stages[f"{model}/accuracy"]["scores"].counts == {"rows": 5, "questions": 0, "texts": 10}
    assert before.total["training"].counts["pairs"] == 21 and not after.stages


@pytest.mark.torch
def test_implicit_rewards_are_forecast_with_both_trainings_and_what_is_scored(tiny_model: Path, tmp_path: Path) -> None:
    data = pairs_file(tmp_path / "pairs.jsonl", "q", 12)
    text = (
        f"kind: implicit_reward\nname: ira\ndata: {data}\n"
        f"train: {{model: {json.dumps(str(tiny_model))}, {TRAIN}, loss: {{kind: dpo, beta: 0.2}}}}\n"
    )
    before, after, notes = compare(text, tmp_path / "runs")
    assert before.stages["first/train"]["training"].counts["pairs"] == notes["first/pairs"]["goal_pairs"] == 12
    # The policy and the model that it was compared with read both sides of every pair.
    assert before.stages["score"]["scores"].counts == {"rows": 12, "questions": 0, "texts": 48}
    augmented = before.stages["augmented/train"]["training"]
    made = notes["augmented/pairs"]["goal_pairs"]
    assert isinstance(made, int) and made <= augmented.counts["pairs"] == 24 and augmented.at_most
    assert not after.stages


def test_a_model_that_is_not_here_leaves_the_cost_unknown(tmp_path: Path) -> None:
    data = pairs_file(tmp_path / "pairs.jsonl", "q", 3)
    recipe = of_kind(parse(f"kind: implicit_reward\nname: x\ndata: {data}\ntrain: {{model: nowhere}}\n"))
    forecast = forecast_run(recipe, Run(tmp_path / "x"), recipe_run.plan_run(recipe, tmp_path))
    assert not forecast.stages and list(forecast.lines()) == [f"cost: not known, since {forecast.unknown}"]
    assert "nowhere" in forecast.unknown
