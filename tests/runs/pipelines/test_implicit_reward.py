"""Implicit-reward augmentation, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from prefboost.recipes.documents import apply_overrides, parse
from prefboost.recipes.kinds import AnyRecipe
from prefboost.recipes.load import of_kind
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines import run as recipe_run
from prefboost.runs.pipelines.implicit_reward import build_implicit_reward_stages

ALL = ["pairs", "first/pairs", "first/train", "score", "augmented/pairs", "augmented/train"]


def recipe(data: Path, model: Path, *overrides: str) -> AnyRecipe:
    text = f"""
kind: implicit_reward
name: ira
data: {json.dumps(str(data))}
train: {{model: {json.dumps(str(model))}, precision: fp32, batch_size: 4, learning_rate: 1.0e-3, max_length: 1000,
        max_prompt_length: 700, loss: {{kind: dpo, beta: 0.2}}}}
"""
    return of_kind(apply_overrides(parse(text), overrides))


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """Transcripts as HH-RLHF writes them."""
    path = tmp_path / "hh.jsonl"
    rows = []
    for number in range(12):
        head = f"\n\nHuman: What is {number} and {number}?\n\nAssistant: "
        rows.append({"chosen": f"{head}It is {2 * number}.", "rejected": f"{head}No idea about {number}, go away."})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.torch
def test_binary_pairs_get_scores_goals_and_a_policy_that_hears_them(
    binary: Path, tiny_model: Path, tmp_path: Path
) -> None:
    report = recipe_run.run(recipe(binary, tiny_model), tmp_path)
    folder = tmp_path / "ira"
    assert [each.stage for each in report.stages] == ALL
    first = pl.read_parquet(folder / "first" / "pairs.parquet")
    assert first.height == 12 and first["goal"].null_count() == 12
    scored = pl.read_parquet(folder / "scored.parquet")
    assert scored["score_chosen"].null_count() == 0
    pairs = pl.read_parquet(folder / "augmented" / "pairs.parquet")
    assert pairs["goal"].min() >= 1.0 and pairs["goal"].max() <= 10.0  # type: ignore[operator]
    assert (pairs["goal"] * 10 - (pairs["goal"] * 10).round()).abs().max() < 1e-9  # type: ignore[operator]
    assert pairs.height == 2 * pairs["pair_id"].n_unique()
    facts = json.loads((folder / "augmented" / "model" / "prefboost.json").read_text())
    assert facts["scales"][""]["kind"] == "percentile" and len(facts["scales"][""]["knots"]) > 2  # the map is stored
    assert facts["train"]["model"] == str(tiny_model)  # from the start model, not from the first policy
    assert report.model == str(folder / "augmented" / "model")
    plain = json.loads((folder / "first" / "model" / "prefboost.json").read_text())
    assert plain["say"] is None


@pytest.mark.torch
def test_other_goals_train_the_second_policy_alone(binary: Path, tiny_model: Path, tmp_path: Path) -> None:
    recipe_run.run(recipe(binary, tiny_model, "train.max_steps=1"), tmp_path)

    def stale(*overrides: str) -> list[str]:
        wanted = recipe(binary, tiny_model, "train.max_steps=1", *overrides)
        return [each.stage.name for each in recipe_run.plan_run(wanted, tmp_path) if not each.done]

    assert stale("scale={kind: min_max}") == ["augmented/pairs", "augmented/train"]
    assert stale("score.length_normalise=true") == ["score", "augmented/pairs", "augmented/train"]
    assert stale("train.seed=5") == ["first/train", "score", "augmented/pairs", "augmented/train"]
    assert stale() == []


def test_stages_depend_on_earlier_ones(binary: Path, tiny_model: Path, tmp_path: Path) -> None:
    wanted = recipe(binary, tiny_model)
    stages = build_implicit_reward_stages(wanted, Run(tmp_path))  # type: ignore[arg-type]
    assert [stage.name for stage in stages] == ALL
    for position, stage in enumerate(stages):
        assert set(stage.after) <= set(ALL[:position])


@pytest.mark.torch
def test_the_shared_binary_set_goes_through(shared_dir: Path, tiny_model: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.parquet"
    pl.read_parquet(shared_dir / "data" / "harmless_test.parquet").filter(
        (pl.col("n_chars_chosen") < 150) & (pl.col("n_chars_rejected") < 150) & (pl.col("n_prompt_turns") == 1)
    ).head(12).write_parquet(small)
    report = recipe_run.run(recipe(small, tiny_model, "train.max_steps=2"), tmp_path)
    assert report.stages[-1].notes["pairs"] >= 4
