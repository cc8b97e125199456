"""What on-policy rounds are forecast to take, against what they took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from faulty_server import FaultyServer
from tables_of import scored_table

from prefboost.costs import estimate_store
from prefboost.forecast import RunForecast
from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.load import of_kind
from prefboost.recipes.on_policy import OnPolicy
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines import round_forecast
from prefboost.runs.pipelines import run as recipe_run
from prefboost.runs.pipelines.round_forecast import forecast_rounds, score_evenly

ROUND = ("generate", "score", "train", "evaluate")


def made(text: str, *overrides: str) -> OnPolicy:
    found = of_kind(apply_overrides(parse(text), overrides))
    assert isinstance(found, OnPolicy)
    return found


def forecast(recipe: OnPolicy, runs: Path) -> RunForecast:
    done = {each.stage.name for each in recipe_run.plan_run(recipe, runs) if each.done}
    return RunForecast(forecast_rounds(recipe, Run(runs / recipe.name), done))


def rating(prompt: str, seed: int, place: int) -> str:
    return json.dumps({"ratings": [{"candidate": 1, "reason": "so", "rating": 1 + len(prompt) % 10}]})


@pytest.mark.torch
def test_completions_are_those_of_the_run_and_trainings_at_most_those_forecast(
    on_policy_text: str, finished_rounds: Path, tmp_path: Path
) -> None:
    plan = forecast(made(on_policy_text), tmp_path)
    assert list(plan.stages) == ["start/evaluate", *(f"round {n}/{what}" for n in (1, 2) for what in ROUND)]
    finished = Run(finished_rounds / "tiny")
    for number in (1, 2):
        notes = {what: finished.notes(f"round {number}/{what}") for what in ("generate", "pairs", "train")}
        completions = plan.stages[f"round {number}/generate"]["completions"]
        written = notes["generate"]["rows"] + sum(notes["generate"]["rejected"].values())
        assert completions.counts == {"prompts": 8, "rows": 32} and written == 32
        tokens = pl.read_parquet(finished.path / f"round-{number}" / "completions.parquet")["tokens"]
        assert tokens.sum() <= completions.total.most_tokens == 32 * 12
        training = plan.stages[f"round {number}/train"]["training"]
        assert 0 < notes["pairs"]["goal_pairs"] <= training.counts["pairs"] == 16
        assert 0 < notes["train"]["steps"] <= training.counts["steps"]
        assert training.at_most and training.tokens["packed"] > 0
        held_out = plan.stages[f"round {number}/evaluate"]["completions"]
        assert held_out.counts == {"prompts": 3, "rows": 6}
    whole = {kind: each.counts for kind, each in plan.total.items()}
    assert whole["completions"]["rows"] == 2 * 32 + 3 * 6 == whole["scores"]["rows"]
    assert not (tmp_path / "tiny").exists(), "nothing is written"
    assert estimate_store(plan.total["completions"]) > 0 == estimate_store(plan.total["scores"])


@pytest.mark.torch
def test_a_raters_calls_are_counted_and_known_once_completions_are(on_policy_text: str, tmp_path: Path) -> None:
    with FaultyServer(answer=rating) as server:
        engine = f"{{kind: openai_compatible, model: m, base_url: '{server.base_url}'}}"
        prices = "prices={m: {prompt: 1, completion: 2}}"
        recipe = made(on_policy_text, f"scorer={{kind: rater, engine: {engine}}}", prices, "rounds=1")
        before = forecast(recipe, tmp_path)
        scores = before.stages["round 1/score"]["scores"]
        assert scores.counts == {"rows": 32, "questions": 32} and scores.total.calls == 32
        assert scores.total.most_tokens == 32 * 512 and scores.total.most_dollars is not None
        assert before.rounds["round 1"]["scores"].total.calls == 32 + 6
        assert server.calls == 0, "nothing is asked"
        recipe_run.run(recipe, tmp_path, until="round 1/generate")
        spent, after = server.calls, forecast(recipe, tmp_path)
        assert 0 < spent <= before.stages["start/evaluate"]["scores"].total.calls == 6
        assert "start/evaluate" not in after.stages and "round 1/generate" not in after.stages
        recipe_run.run(recipe, tmp_path, until="round 1/score")
        # Known by now: how many completions differ from all others of their prompt.
        known = after.stages["round 1/score"]["scores"].total
        assert server.calls - spent == known.calls <= scores.total.calls


@pytest.mark.torch
def test_a_reward_model_reads_every_completion(on_policy_text: str, tiny_model: Path, tmp_path: Path) -> None:
    recipe = made(on_policy_text, f"scorer={{kind: reward_model, model: {json.dumps(str(tiny_model))}}}", "rounds=1")
    scores = forecast(recipe, tmp_path).stages["round 1/score"]["scores"]
    assert scores.counts == {"rows": 32, "questions": 0, "texts": 32} and scores.total.most_tokens == 0
    assert "32 texts to read" in scores.headline and scores.total.prompt_tokens > 32 * 12


@pytest.mark.torch
def test_prompts_beyond_a_sample_count_as_those_within(
    on_policy_text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = made(on_policy_text, "rounds=1", "evaluate=null")
    whole = forecast(recipe, tmp_path)
    monkeypatch.setattr(round_forecast, "_SAMPLED_PROMPTS", 4)
    sampled = forecast(recipe, tmp_path)
    for kind in ("completions", "scores", "training"):
        assert sampled.total[kind].counts == whole.total[kind].counts, kind
    ratio = sampled.total["training"].tokens["real"] / whole.total["training"].tokens["real"]
    assert 0.5 < ratio < 2
    assert any("counted on 4 prompts, times 2" in each for each in sampled.total["training"].guesses)
    fixed = forecast(made(on_policy_text, "rounds=1", "evaluate=null", "train.max_steps=3"), tmp_path)
    assert fixed.total["training"].counts["steps"] == 3


@pytest.mark.torch
def test_rounds_of_their_own_prompts_share_them(on_policy_text: str, tmp_path: Path) -> None:
    plan = forecast(made(on_policy_text, "rounds=2", "prompts_a_round=parts", "evaluate=null"), tmp_path)
    rows = [plan.stages[f"round {number}/generate"]["completions"].counts["rows"] for number in (1, 2)]
    assert sum(rows) == 4 * 11 and min(rows) > 0
    assert [plan.stages[f"round {n}/score"]["scores"].counts["rows"] for n in (1, 2)] == rows


def test_scores_of_a_prompt_are_spread_over_the_scale() -> None:
    completions = scored_table([("p", [None] * 4), ("q", [None])])
    scored: Any = score_evenly(completions, ["style"], (1.0, 10.0)).frame
    assert scored["score"].to_list() == [1.0, 4.0, 7.0, 10.0, 1.0] == scored["score.style"].to_list()
