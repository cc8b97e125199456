"""Rounds of an on-policy arm take its recipe, the training prompts and the scorer; the first samples are shared."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from length_scorer import LengthScorer

from prefboost.recipes.recipe import Recipe
from prefboost.runs.reproduce.arms import build_arm_recipe
from prefboost.runs.reproduce.noise import NoisyScorer
from prefboost.runs.reproduce.own_samples import build_round_recipe, copy_first_samples, write_round_prompts
from prefboost.sources import read
from prefboost.tables import Table

from .conftest import build_settings

TRAINING = {"learning_rate": 1e-4, "seed": 3, "max_steps": 6}
SCORER = {"kind": "length_scorer:LengthScorer"}


def test_the_rounds_take_the_arms_recipe_and_its_steps(scored: Path) -> None:
    generate = {"n": 3, "goal": "mixture"}
    settings = build_settings(
        Path("m"), scored, arms=["on_policy_ra", "on_policy_dpo"], steps=6, scorer=SCORER,
        on_policy={"rounds": 3, "generate": generate}, noise={"deviation": 1.0},
    )  # fmt: skip
    for arm, goal in (("on_policy_ra", "mixture"), ("on_policy_dpo", "plain")):
        recipe = build_arm_recipe(arm, settings.recipe, TRAINING, 0.2)
        assert isinstance(recipe, Recipe)
        rounds = build_round_recipe(recipe, settings, Path("prompts.parquet"))
        assert (rounds.rounds, rounds.train.max_steps, rounds.train.seed) == (3, 2, 3)
        assert rounds.train.loss.beta == 0.2  # type: ignore[attr-defined]
        assert (rounds.relabel, rounds.pair, rounds.scale) == (recipe.relabel, recipe.pair, recipe.scale)
        assert rounds.generate.goal == goal and rounds.generate.n == 3 and rounds.evaluate is None
        # Training sees the judge that errs, between the ends of the recipe's scale.
        assert isinstance(rounds.scorer, NoisyScorer) and rounds.scorer.scorer == LengthScorer()
        assert rounds.scorer.noise.ends == (1.0, 10.0)
        assert type(rounds).model_validate(rounds.model_dump(mode="json")) == rounds


def test_prompts_are_those_of_the_rows_but_for_marked_ones(scored: Path, tmp_path: Path) -> None:
    rows = read(scored)
    frame = rows.frame.with_columns(
        split=pl.when(pl.col("prompt_id") == rows.frame["prompt_id"][0]).then(pl.lit("test"))
    )
    write_round_prompts(Table(rows.spec, frame), tmp_path / "prompts.parquet")
    prompts = read(tmp_path / "prompts.parquet").frame["prompt_id"]
    assert set(prompts) == set(rows.frame["prompt_id"]) - {rows.frame["prompt_id"][0]} and prompts.is_unique().all()


def test_only_the_first_rounds_samples_and_scores_are_copied_and_never_over_others(tmp_path: Path) -> None:
    cells, place = tmp_path / "cells", tmp_path / "cells" / "on_policy_ra-2"
    (place / "round-1").mkdir(parents=True)
    copy_first_samples(cells, place)  # nobody has sampled yet
    other = cells / "on_policy_dpo-1"
    for name in ("scores.store", "round-1/completions.plain.parquet.store", "round-2/completions.plain.parquet.store"):
        (other / name).mkdir(parents=True)
        (other / name / "rows").write_text(name)
    (cells / "dpo-1" / "round-1" / "x.store").mkdir(parents=True)
    copy_first_samples(cells, place)
    names = sorted(str(file.relative_to(place)) for file in place.rglob("rows"))
    assert names == ["round-1/completions.plain.parquet.store/rows", "scores.store/rows"]
    (place / names[1]).write_text("its own")
    copy_first_samples(cells, place)
    assert (place / names[1]).read_text() == "its own"
