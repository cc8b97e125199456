"""The offline recipe: its scored data are there before it begins. Two stages, pairs and train."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.recipes.executors import OnThisMachine
from prefboost.recipes.recipe import Recipe
from prefboost.runs.folder.manifest import Run, hash_input
from prefboost.runs.folder.schedule import Stage
from prefboost.runs.folder.staging import locate_staging
from prefboost.runs.pipelines.goal_pairs import (
    PAIRS,
    REJECTS,
    PairCounts,
    choose_recipe_rows,
    count_pairs,
    list_input_paths,
    load_renderer,
    make_recipe_pairs,
    split_rows,
    write_goal_pairs,
)
from prefboost.runs.pipelines.parts import TOKEN_SETTINGS, take_part
from prefboost.runs.pipelines.training import (
    STATED_BY,
    build_training_stage,
    fingerprint_models,
    train_on_stage,
)
from prefboost.runs.table_pieces import PieceTable
from prefboost.sources import read
from prefboost.tables import Table

if TYPE_CHECKING:
    from prefboost.chat.template import Render
    from prefboost.forecast import Forecast
    from prefboost.progress import Progress

__all__ = ["build_offline_stages", "forecast_recipe", "prepare", "prepare_by_executor"]


def prepare(recipe: Recipe, render: Render | None = None) -> Table:
    """Read and prepare everything before training: GoalPairs with the goal said in their prompts.

    Args:
        recipe: which stages, with which settings; of ``train`` only the model's tokenizer plays a part, and only where
            ``select`` has a limit in tokens.
        render: the chat template of the model to train, probed for where the goal can stand.

    Raises:
        DataError, ModelError: see the stages.
    """
    return make_recipe_pairs(recipe, choose_recipe_rows(recipe, read(recipe.data)), render)


@contextmanager
def prepare_by_executor(recipe: Recipe, place: Path) -> Iterator[Table | PieceTable]:
    """Do what `prepare` does, here or by the nodes of a cluster, whose pieces are there while the block runs.

    Args:
        recipe: see there; its executor says who does the work.
        place: the file that the pairs will be written to; parts of a cluster wait beside it.
    """
    render = load_renderer(recipe)
    if isinstance(recipe.executor, OnThisMachine):
        yield prepare(recipe, render)
        return
    from prefboost.runs.ray.data_spread import open_spread
    from prefboost.runs.ray.data_verbs import prepare_on

    with open_spread(recipe.executor) as spread, prepare_on(spread, recipe, render, place) as pairs:
        yield pairs


def build_offline_stages(recipe: Recipe, run: Run, progress: Progress | None = None) -> list[Stage]:
    """Build the stages: pairs, then training on them."""
    # Goal pairs depend on everything but who makes them and training, of which the tokenizer counts.
    data = take_part(
        recipe,
        (*(name for name in type(recipe).model_fields if name not in ("train", "executor")), *TOKEN_SETTINGS),
        free=("executor", "train.trust_remote_code"),
    )
    training = take_part(recipe, ("train",), free=STATED_BY)

    def make_pairs() -> Mapping[str, Any]:
        with prepare_by_executor(data.recipe, run.path / PAIRS) as pairs:
            return write_goal_pairs(pairs, run.path)

    return [
        Stage(
            "pairs",
            data.settings,
            (PAIRS, REJECTS),
            make_pairs,
            inputs={name: hash_input(name) for name in list_input_paths(recipe)},
            scraps=(locate_staging(Path(PAIRS)).name,),
        ),
        build_training_stage(
            "train",
            "",
            training.settings,
            lambda: asdict(train_on_stage(training.recipe, training.recipe.train, run, "pairs", progress=progress)),
            after=("pairs",),
            inputs=fingerprint_models(recipe.train.model, recipe.train.reference),
        ),
    ]


def forecast_recipe(recipe: Recipe, show: Callable[[PairCounts], object] | None = None) -> tuple[PairCounts, Forecast]:
    """Count a recipe's data, and forecast what training on them will take. Nothing is written.

    Args:
        recipe: of the training.
        show: receives the counts before the forecast is computed, which may fail.

    Raises:
        DataError, ModelError: see the stages.
    """
    from prefboost.training.forecast import forecast_policy

    table = prepare(recipe, load_renderer(recipe))
    counts = count_pairs(table)
    if show is not None:
        show(counts)
    pairs, evaluation = split_rows(table.frame.to_arrow())
    return counts, forecast_policy(pairs, recipe.train, eval_pairs=evaluation, say=recipe.condition)
