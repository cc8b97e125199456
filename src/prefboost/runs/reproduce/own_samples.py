"""On-policy arms of a reproduction: rounds in which the policy's own samples, scored, are what it is trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import polars as pl
from pydantic import Field

from prefboost.engines.engine import Sampling
from prefboost.preferences import Plain
from prefboost.recipes.on_policy import OnPolicy, RoundCompletions
from prefboost.recipes.preparation import Preparation
from prefboost.recipes.recipe import Recipe
from prefboost.runs.pipelines.on_policy import SCORES
from prefboost.runs.reproduce.noise import NoisyScorer
from prefboost.runs.reproduce.rmboost.data import choose_prompts
from prefboost.scoring.scorer import SCORERS, Scorer
from prefboost.settings import Settings, choice
from prefboost.sources import File
from prefboost.sources.write import write
from prefboost.tables import EVALUATION_SPLITS, Table

if TYPE_CHECKING:
    from prefboost.runs.reproduce.settings import Reproduction

__all__ = ["ROUND_PROMPTS", "OwnSamples", "build_round_recipe", "copy_first_samples", "write_round_prompts"]

ROUND_PROMPTS = "prompts.parquet"
"""Prompts that the on-policy arms complete, in the folder of a reproduction."""

_FIRST_ROUND = "round-1"


class OwnSamples(Settings):
    """Rounds of the on-policy arms: the policy completes the training prompts, a scorer scores, and it is trained."""

    rounds: int = Field(1, ge=1, le=100, description="Rounds; together they take the optimiser steps of other arms.")
    scorer: Annotated[Scorer, choice(SCORERS)] | None = Field(
        None, description="Scores the samples that are trained on; none: the scorer of the verdict."
    )
    generate: RoundCompletions = Field(
        RoundCompletions(sampling=Sampling(temperature=0.8, top_p=0.95, max_tokens=256)),
        description="Sampling; plain arms never ask for a score, whatever generate.goal says.",
    )


def write_round_prompts(rows: Table, file: Path) -> None:
    """Write the prompts that are completed; of the rows to train on those that no column holds out."""
    prompts = choose_prompts(rows)
    if "split" in prompts.frame.columns:
        held_out = pl.col("split").is_in(EVALUATION_SPLITS).fill_null(False)
        prompts = Table(prompts.spec, prompts.frame.filter(~held_out), path=prompts.path)
    write(prompts, file)


def build_round_recipe(recipe: Recipe, settings: Reproduction, prompts: Path) -> OnPolicy:
    """Build the rounds of an on-policy arm.

    Args:
        recipe: of the arm, with the optimiser steps of all rounds together.
        settings: rounds, scorer and noise; ``select`` of its recipe, which new completions have yet to pass.
        prompts: file of the prompts.
    """
    samples, train = settings.on_policy, recipe.train
    assert samples is not None and train.max_steps is not None
    scorer, noise = samples.scorer or settings.scorer, settings.training_noise
    if noise is not None:
        scorer = NoisyScorer(scorer=scorer, noise=noise)
    plain = isinstance(recipe.relabel, Plain)
    fields = {name: getattr(recipe, name) for name in Preparation.model_fields}
    return OnPolicy(
        **{**fields, "select": settings.recipe.select},
        name=recipe.name,
        prompts=File(path=str(prompts)),
        rounds=samples.rounds,
        generate=samples.generate.model_copy(update={"goal": "plain"}) if plain else samples.generate,
        scorer=scorer,
        train=train.model_copy(update={"max_steps": train.max_steps // samples.rounds}),
        evaluate=None,
    )


def copy_first_samples(cells: Path, place: Path) -> None:
    """Copy what another on-policy cell sampled and scored in its first round, when all policies are the start model.

    So arms, betas and seeds begin with the same samples, which are drawn and scored once. Stores are content-addressed:
    what does not fit is sampled anew.

    Args:
        cells: folder of all cells.
        place: folder of the cell, which is claimed already.
    """
    others = (each for each in sorted(cells.glob("on_policy_*")) if each != place and (each / SCORES).is_dir())
    other = next(others, None)
    if other is None:
        return
    for store in [other / SCORES, *sorted((other / _FIRST_ROUND).glob("*.store"))]:
        target = place / store.relative_to(other)
        if not target.exists():
            # By a rename, so that a kill leaves no half of a store, which the next call would open.
            partial = target.with_name(f".{target.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(store, partial)
            partial.rename(target)
