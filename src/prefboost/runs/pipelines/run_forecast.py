"""Forecast of a recipe of any kind: what its unfinished stages ask of models and compute. Nothing is written."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from prefboost.engines.budget import UNLIMITED
from prefboost.errors import ModelError
from prefboost.forecast import Forecast, RunForecast, StageWork
from prefboost.preferences import DeclaredRange, Plain, condition, pair, relabel
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.kinds import AnyRecipe, PolicyRecipe
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.reward import RewardModels
from prefboost.runs.folder.manifest import Run
from prefboost.runs.folder.schedule import StageStatus
from prefboost.runs.pipelines.goal_pairs import (
    PAIRS,
    choose_recipe_rows,
    load_renderer,
    make_recipe_pairs,
    split_rows,
)
from prefboost.runs.pipelines.implicit_reward import AUGMENTED, FIRST, PREFERENCES, build_scorer, find_compared_model
from prefboost.runs.pipelines.offline import prepare
from prefboost.runs.pipelines.reward_models import mix_reward_pairs
from prefboost.runs.pipelines.round_forecast import forecast_rounds
from prefboost.runs.pipelines.stage_tables import load_table
from prefboost.runs.pipelines.train_reward import forecast_reward_run
from prefboost.runs.score.questions import forecast_questions
from prefboost.scoring import RewardModelScorer
from prefboost.sources import read
from prefboost.tables import PREFERENCE_PAIRS, Table
from prefboost.training import Train

__all__ = [
    "forecast_implicit_rewards",
    "forecast_offline",
    "forecast_reward_models",
    "forecast_run",
    "score_as_labelled",
]

_UNSCORED = "training on goals: chosen completions score above rejected ones, so that pairs are the most there can be"


def forecast_run(recipe: AnyRecipe, run: Run, statuses: Sequence[StageStatus]) -> RunForecast:
    """Forecast the stages of a recipe that are to do, each as the verb that does its work would.

    Args:
        recipe: of any kind.
        run: its folder; what finished stages wrote is counted as it is.
        statuses: of its stages (`prefboost.runs.pipelines.run.plan_run`).

    Returns:
        The forecast; without stages, and with the reason, where a model is not on this machine.

    Raises:
        DataError, SettingsError: the run would fail by them.
    """
    done = {each.stage.name for each in statuses if each.done}
    try:
        if isinstance(recipe, OnPolicy):
            return RunForecast(forecast_rounds(recipe, run, done))
        if isinstance(recipe, RewardModels):
            return RunForecast(forecast_reward_models(recipe, done))
        if isinstance(recipe, ImplicitRewards):
            return RunForecast(forecast_implicit_rewards(recipe, run, done))
        return RunForecast(forecast_offline(recipe, run, done))
    # A forecast may be made on another machine than the run, and the list of stages needs no model.
    except ModelError as error:
        return RunForecast(unknown=str(error).splitlines()[0])


def forecast_offline(recipe: Recipe, run: Run, done: Collection[str]) -> dict[str, StageWork]:
    """Forecast the training on pairs that are made or made here, unless it is done."""
    if "train" in done:
        return {}
    if "pairs" in done:
        pairs = pq.read_table(run.path / PAIRS)
    else:
        pairs = prepare(recipe, load_renderer(recipe)).frame.to_arrow()
    return {"train": {"training": _forecast_training(pairs, recipe, recipe.train)}}


def forecast_reward_models(recipe: RewardModels, done: Collection[str]) -> dict[str, StageWork]:
    """Forecast every model's training, and the texts that tell its accuracy."""
    names = {model: (f"{model}/train", f"{model}/accuracy") for model in recipe.mixed}
    if {name for both in names.values() for name in both} <= set(done):
        return {}
    mixed, test = mix_reward_pairs(recipe)
    stages: dict[str, StageWork] = {}
    # Tokens count as the start model's do.
    scorer = RewardModelScorer(model=recipe.train.model, dtype="float32")
    for model, (train, accuracy) in names.items():
        if train not in done:
            stages[train] = {"training": forecast_reward_run(mixed[model], recipe.train, strategy=recipe.pair)}
        if accuracy not in done:
            stages[accuracy] = {"scores": forecast_questions(test, scorer, UNLIMITED)}
    return stages


def forecast_implicit_rewards(recipe: ImplicitRewards, run: Run, done: Collection[str]) -> dict[str, StageWork]:
    """Forecast both trainings, and the texts that are scored in between."""
    first, scored, last = f"{FIRST}/train", "score", f"{AUGMENTED}/train"
    if {first, scored, last} <= set(done):
        return {}
    if "pairs" in done:
        pairs = load_table(run.path / PREFERENCES, PREFERENCE_PAIRS)
    else:
        pairs = pair(choose_recipe_rows(recipe, read(recipe.data)), recipe.pair)
    stages: dict[str, StageWork] = {}
    if first not in done:
        plain = condition(relabel(pairs, Plain(contradictions="keep"))).frame.to_arrow()
        stages[first] = {"training": _forecast_training(plain, recipe, recipe.training_first)}
    if scored not in done:
        # Tokens count as the start model's do.
        scorer = build_scorer(recipe.training_first.model, find_compared_model(recipe), recipe.score)
        stages[scored] = {"scores": forecast_questions(pairs, scorer, UNLIMITED)}
    if last not in done and f"{AUGMENTED}/pairs" in done:
        goal_pairs = pq.read_table(run.path / AUGMENTED / PAIRS)
        stages[last] = {"training": _forecast_training(goal_pairs, recipe, recipe.train)}
    elif last not in done:
        goal_pairs = make_recipe_pairs(recipe, score_as_labelled(recipe, pairs), load_renderer(recipe))
        training = _forecast_training(goal_pairs.frame.to_arrow(), recipe, recipe.train)
        headline, guesses = f"at most {training.headline}", [*training.guesses, _UNSCORED]
        stages[last] = {"training": replace(training, headline=headline, guesses=guesses, at_most=True)}
    return stages


def _forecast_training(pairs: pa.Table, recipe: PolicyRecipe, train: Train) -> Forecast:
    from prefboost.training.forecast import forecast_policy

    trained, evaluated = split_rows(pairs)
    return forecast_policy(trained, train, eval_pairs=evaluated, say=recipe.condition)


def score_as_labelled(recipe: ImplicitRewards, pairs: Table) -> Table:
    """Score chosen completions by the highest and rejected ones by the lowest score of the recipe's scale."""
    scale, low, high = recipe.scale, 1.0, 10.0
    if isinstance(scale, DeclaredRange):
        low, high = low if scale.low is None else scale.low, high if scale.high is None else scale.high
    columns = (pl.lit(score, pl.Float64).alias(name) for name, score in
               (("score_chosen", high), ("score_rejected", low)))  # fmt: skip
    return replace(pairs, frame=pairs.frame.with_columns(columns))
