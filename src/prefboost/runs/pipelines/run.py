"""`run`: any recipe, stage by stage, in one folder; stages that nothing has changed for are skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.devices.numbers import NUMBERS_FILE, keep_numbers
from prefboost.recipes.executors import OnRay
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.kinds import AnyRecipe
from prefboost.recipes.load import load_any
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.recipe import Recipe
from prefboost.recipes.reward import RewardModels
from prefboost.runs.folder.executor import Executor, LocalExecutor
from prefboost.runs.folder.manifest import Run, holds_foreign_files, open_run
from prefboost.runs.folder.schedule import Stage, StageOutcome, StageStatus, carry_out, list_statuses
from prefboost.runs.pipelines.goal_pairs import list_input_paths
from prefboost.runs.pipelines.implicit_reward import build_implicit_reward_stages
from prefboost.runs.pipelines.offline import build_offline_stages
from prefboost.runs.pipelines.on_policy import build_on_policy_stages
from prefboost.runs.pipelines.reward_models import build_reward_stages, list_reward_files
from prefboost.runs.pipelines.training import read_train_report
from prefboost.sources.writers.outputs import refuse_inputs
from prefboost.training import TrainReport
from prefboost.training.claim import hold_folder

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["RunReport", "plan_run", "run", "run_recipe", "build_stages"]


@dataclass(frozen=True)
class RunReport:
    """Outcome of a call of `run`.

    Args:
        folder: the run folder.
        stages: what became of each stage, in order; those after ``until`` are absent.
        measured: stage -> what was measured, of every evaluation.
        model: the folder of the model trained last; None where none is trained yet.
    """

    folder: str
    stages: tuple[StageOutcome, ...]
    measured: Mapping[str, Mapping[str, Any]]
    model: str | None


def run(
    recipe: AnyRecipe | str | Path,
    runs_dir: str | Path = "runs",
    *,
    until: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[StageOutcome], None] = lambda _: None,
) -> RunReport:
    """Do what a recipe says. The same call after an interruption goes on where it stopped.

    Args:
        recipe: settings, a YAML file, or the name of a shipped recipe.
        runs_dir: where run folders are; this one is named for the recipe.
        until: the last stage to do, e.g. ``round 1/score``; None does all.
        executor: which process of a launch does the work; default: this one. The recipe's own executor says whether
            that work goes on to a cluster.
        progress: is told how far a stage is.
        tell: is told of every stage.

    Returns:
        What was done and skipped, and what was measured.

    Raises:
        RunError: the folder is in use, lies around an input, or holds something else; there is no stage ``until``.
        SettingsError, DataError, ModelError: see the stages.
    """
    loaded = load_any(recipe) if isinstance(recipe, str | Path) else recipe
    folder = Path(runs_dir) / loaded.name
    outcomes = _run_in(folder, loaded, until=until, executor=executor, progress=progress, tell=tell)
    measured = {each.stage: each.notes for each in outcomes if each.stage.endswith(("/evaluate", "/accuracy"))}
    models = [each.notes["model"] for each in outcomes if each.notes.get("model")]
    return RunReport(str(folder), tuple(outcomes), measured, models[-1] if models else None)


def run_recipe(
    recipe: Recipe,
    out: str | Path,
    *,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[StageOutcome], None] = lambda _: None,
) -> TrainReport:
    """Prepare the data of an offline recipe and train: `run` of it, in a folder of any name.

    Args:
        recipe: what to do.
        out: run folder: manifest.json, pairs.parquet, rejects.parquet, and what `prefboost.training.train` writes.
        executor: who prepares the data; default: this process.
        progress: receives how far training has come.
        tell: receives every stage once it is done or skipped.

    Raises:
        RunError: ``out`` holds another run, or lies around an input, or another process is at work in it.
        DataError, ModelError: see the stages.
    """
    _run_in(Path(out), recipe, executor=executor, progress=progress, tell=tell)
    return read_train_report(Path(out))


def _run_in(
    folder: Path,
    recipe: AnyRecipe,
    *,
    until: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[StageOutcome], None],
) -> list[StageOutcome]:
    """Carry out the stages of a recipe, alone in its folder."""
    executor = executor or LocalExecutor()
    if isinstance(recipe, Recipe):
        from prefboost.training.preflight import check_request

        check_request(recipe.train)  # before the folder is claimed for these settings
    refuse_inputs([folder], _list_inputs(recipe), [recipe])
    models: AbstractContextManager[object] = nullcontext()
    # Of an offline recipe no model completes or scores; processes that do not lead wait for the one that does.
    if executor.is_main_process and isinstance(recipe.executor, OnRay) and not isinstance(recipe, Recipe):
        from prefboost.runs.ray.asking import open_pool

        models = open_pool(recipe.executor, recipe, one_at_a_time=True)
    # The lock is a file: it is not laid into a folder of somebody else's, which `open_run` refuses.
    guarded = executor.is_main_process and not holds_foreign_files(folder)
    with hold_folder(folder) if guarded else nullcontext(), keep_numbers(folder / NUMBERS_FILE):
        opened = Run(folder)
        stages = build_stages(recipe, opened, progress)
        if executor.is_main_process:
            # Stages have hashed their inputs, which may be large: the manifest takes the same fingerprints.
            hashes = {path: text for stage in stages for path, text in stage.inputs.items()}
            inputs = {path: hashes[path] for path in _list_inputs(recipe)}
            opened = open_run(folder, recipe.name, recipe.model_dump(mode="json"), inputs, revise=True)
        with models:
            return carry_out(opened, stages, executor, until=until, tell=tell)


def plan_run(recipe: AnyRecipe | str | Path, runs_dir: str | Path = "runs") -> list[StageStatus]:
    """List what `run` would do: each stage, done or to do, and why. Nothing is written."""
    loaded = load_any(recipe) if isinstance(recipe, str | Path) else recipe
    opened = Run(Path(runs_dir) / loaded.name)
    return list_statuses(opened, build_stages(loaded, opened))


def build_stages(recipe: AnyRecipe, opened: Run, progress: Progress | None = None) -> list[Stage]:
    """Build the stages of a recipe of any kind."""
    if isinstance(recipe, RewardModels):
        return build_reward_stages(recipe, opened, progress)
    if isinstance(recipe, OnPolicy):
        return build_on_policy_stages(recipe, opened, progress)
    if isinstance(recipe, ImplicitRewards):
        return build_implicit_reward_stages(recipe, opened, progress)
    return build_offline_stages(recipe, opened, progress)


def _list_inputs(recipe: AnyRecipe) -> list[str]:
    """List files and folders that a recipe of any kind reads."""
    return list_reward_files(recipe) if isinstance(recipe, RewardModels) else list_input_paths(recipe)
