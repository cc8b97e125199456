"""`run`: any recipe, stage by stage, in one folder; stages that nothing has changed for are skipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.devices.numbers import NUMBERS_FILE, keep_numbers
from prefboost.recipes.implicit_reward import ImplicitRewards
from prefboost.recipes.kinds import AnyRecipe
from prefboost.recipes.load import load_any
from prefboost.recipes.on_policy import OnPolicy
from prefboost.recipes.reward import RewardModels
from prefboost.runs.folder.executor import Executor, Local
from prefboost.runs.folder.manifest import Run, holds_something_else, open_run
from prefboost.runs.folder.schedule import Did, Stage, Standing, carry_out, standings
from prefboost.runs.pipelines.implicit_reward import implicit_reward_stages
from prefboost.runs.pipelines.offline import inputs_of, offline_stages
from prefboost.runs.pipelines.on_policy import on_policy_stages
from prefboost.runs.pipelines.reward_models import reward_files, reward_stages
from prefboost.sources.outputs import refuse_inputs
from prefboost.training.claim import alone_in

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = ["RunReport", "plan", "run", "stages_of"]


@dataclass(frozen=True)
class RunReport:
    """What a call of `run` did.

    Args:
        folder: the run folder.
        stages: what became of each stage, in order; those after ``until`` are absent.
        measured: stage -> what was measured, of every evaluation.
        model: the folder of the model trained last; None where none is trained yet.
    """

    folder: str
    stages: tuple[Did, ...]
    measured: Mapping[str, Mapping[str, Any]]
    model: str | None


def run(
    recipe: AnyRecipe | str | Path,
    runs_dir: str | Path = "runs",
    *,
    until: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    tell: Callable[[Did], None] = lambda _: None,
) -> RunReport:
    """Do what a recipe says. The same call after an interruption goes on where it stopped.

    Args:
        recipe: settings, a YAML file, or the name of a shipped recipe.
        runs_dir: where run folders are; this one is named for the recipe.
        until: the last stage to do, e.g. ``round 1/score``; None does all.
        executor: who does the work; default: this process.
        progress: is told how far a stage is.
        tell: is told of every stage.

    Returns:
        What was done and skipped, and what was measured.

    Raises:
        RunError: the folder is in use, lies around an input, or holds something else; there is no stage ``until``.
        SettingsError, DataError, ModelError: see the stages.
    """
    loaded = load_any(recipe) if isinstance(recipe, str | Path) else recipe
    executor = executor or Local()
    folder = Path(runs_dir) / loaded.name
    refuse_inputs([folder], _inputs(loaded), [loaded])
    guarded = executor.leads and not holds_something_else(folder)
    with alone_in(folder) if guarded else nullcontext(), keep_numbers(folder / NUMBERS_FILE):
        opened = Run(folder)
        if executor.leads:
            opened = open_run(folder, loaded.name, loaded.model_dump(mode="json"), _inputs(loaded), revise=True)
        did = carry_out(opened, stages_of(loaded, opened, progress), executor, until=until, tell=tell)
    measured = {each.stage: each.notes for each in did if each.stage.endswith(("/evaluate", "/accuracy"))}
    trained = [each.notes["model"] for each in did if each.notes.get("model")]
    return RunReport(str(folder), tuple(did), measured, trained[-1] if trained else None)


def plan(recipe: AnyRecipe | str | Path, runs_dir: str | Path = "runs") -> list[Standing]:
    """What `run` would do: each stage, done or to do, and why. Nothing is written."""
    loaded = load_any(recipe) if isinstance(recipe, str | Path) else recipe
    opened = Run(Path(runs_dir) / loaded.name)
    return standings(opened, stages_of(loaded, opened))


def stages_of(recipe: AnyRecipe, opened: Run, progress: Progress | None = None) -> list[Stage]:
    """The stages of a recipe of any kind."""
    if isinstance(recipe, RewardModels):
        return reward_stages(recipe, opened, progress)
    if isinstance(recipe, OnPolicy):
        return on_policy_stages(recipe, opened, progress)
    if isinstance(recipe, ImplicitRewards):
        return implicit_reward_stages(recipe, opened, progress)
    return offline_stages(recipe, opened, progress)


def _inputs(recipe: AnyRecipe) -> list[str]:
    """Files and folders that a recipe of any kind reads."""
    return reward_files(recipe) if isinstance(recipe, RewardModels) else inputs_of(recipe)
