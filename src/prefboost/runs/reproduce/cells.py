"""One cell of a reproduction: an arm with its beta, learning rate and seed, trained and measured."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefboost.atomic import write_atomically
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.progress import tell_bar
from prefboost.recipes.kinds import PolicyRecipe
from prefboost.recipes.recipe import Recipe
from prefboost.runs.diagnose.policy_completions import (
    CompletionMeasures,
    measure_scored_completions,
    sample_completions,
)
from prefboost.runs.folder.manifest import Run
from prefboost.runs.pipelines.run import run
from prefboost.runs.preparation import list_goal_aspects
from prefboost.runs.reproduce.ability import measure_ability
from prefboost.runs.reproduce.arms import ARMS, build_arm_recipe
from prefboost.runs.reproduce.held_out import (
    SPLITS,
    TEST,
    HeldOutRows,
    make_held_out_pairs,
    measure_pairs,
    measure_rank_agreement,
)
from prefboost.runs.reproduce.own_samples import ROUND_PROMPTS, build_round_recipe, copy_first_samples
from prefboost.runs.reproduce.settings import Reproduction

if TYPE_CHECKING:
    from prefboost.chat.rendering import GoalRequest
    from prefboost.progress import Progress

__all__ = [
    "CELLS",
    "START",
    "Cell",
    "CellResult",
    "CellSetup",
    "find_top",
    "measure_cell",
    "read_cell",
    "read_cell_file",
    "train_cell",
]

START = "start"
"""Name of the arm that is not trained."""

CELLS = "cells"
"""Folder of all cells in that of a reproduction."""

STORE = "logprobs.store"
"""Folder of log-probs, those of the start model among them, of all cells."""

Measures = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Split -> measure -> prompt_id -> value."""


@dataclass(frozen=True, order=True)
class Cell:
    """An arm with its beta (None: its loss has none), learning rate (0: it is not trained) and seed."""

    arm: str
    beta: float | None = None
    learning_rate: float = 0.0
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of its folder.

        >>> Cell("ra", 0.1, 2e-5, 3).name
        'ra-beta0.1-rate2e-05-seed3'
        >>> Cell("start").name
        'start'
        """
        if not self.learning_rate:
            return self.arm
        beta = "" if self.beta is None else f"-beta{self.beta:g}"
        return f"{self.arm}{beta}-rate{self.learning_rate:g}-seed{self.seed}"


@dataclass(frozen=True)
class CellResult:
    """Measures of a cell.

    Args:
        cell: which.
        measures: split -> measure -> prompt_id -> value; see `measure_pairs` and `measure_scored_completions`.
        steps: optimiser steps.
        seconds: of training and measuring.
    """

    cell: Cell
    measures: Measures
    steps: int
    seconds: float


def read_cell(folder: Path, cell: Cell) -> CellResult | None:
    """Read what was measured in an earlier call; None where it was not."""
    path = folder / f"{cell.name}.json"
    return read_cell_file(path) if path.exists() else None


def read_cell_file(path: Path) -> CellResult:
    """Read the measures of a cell from its file."""
    record = json.loads(path.read_text(encoding="utf-8"))
    return CellResult(Cell(**record["cell"]), record["measures"], record["steps"], record["seconds"])


@dataclass(frozen=True)
class CellSetup:
    """All that the cells of a reproduction share.

    Args:
        settings: of the reproduction.
        recipe: the reward-augmented one, whose data are the rows to train on.
        held_out: rows that no cell trains on.
        steps: optimiser steps of an arm of full pace.
        folder: of all cells.
    """

    settings: Reproduction
    recipe: Recipe
    held_out: HeldOutRows
    steps: int
    folder: Path


def measure_cell(cell: Cell, setup: CellSetup, progress: Progress | None = None) -> CellResult:
    """Train and measure a cell, and write its measures; its training and its completions resume.

    Args:
        cell: which.
        setup: what all cells share.
        progress: of the training and the measurements.
    """
    settings, recipe, folder = setup.settings, setup.recipe, setup.folder
    began = time.monotonic()
    place, taken = folder / cell.name, 0
    model: str = settings.recipe.train.model
    trained: PolicyRecipe | None = None
    stated: StatedGoals | None = None
    if cell.arm != START:
        taken = max(1, round(setup.steps * ARMS[cell.arm].pace))
        trained, model = train_cell(cell, setup, taken, progress)
        if ARMS[cell.arm].asks:
            opened = Run(place)
            # The second stage is that of implicit rewards, whose first pairs say no goals; all rounds say them alike.
            stages = ("augmented/pairs", "pairs", "round 1/pairs")
            stated = StatedGoals.from_record(next(filter(None, map(opened.notes, stages))))
    top = None if stated is None else find_top(stated, trained)
    measures: dict[str, dict[str, dict[str, float]]] = {}
    for split in SPLITS:
        rows = setup.held_out.select(split)
        measures[split] = {}
        if trained is not None:
            pairs = make_held_out_pairs(rows, recipe, trained, stated)
            measures[split] |= measure_pairs(pairs, model, settings, folder / STORE, tell_bar(progress))
            if settings.scorer is None and split == TEST:
                # Of use in the report alone: no setting is chosen by it.
                measures[split] |= measure_rank_agreement(
                    rows, model, top, settings, folder / STORE, tell_bar(progress)
                )
        if settings.scorer is not None:
            how, tell = CompletionMeasures(settings.scorer, settings.sampling, settings.samples), tell_bar(progress)
            scored = sample_completions(rows, model, top, how, place / split, tell)
            logps = place / split / "logprobs.store"
            measures[split] |= measure_scored_completions(
                scored, model, settings.start_model, logps, tell, settings.aspects
            )
    measures[TEST] |= measure_ability(settings, model, stated, place / "academic", progress)
    result = CellResult(cell, measures, taken, time.monotonic() - began)
    write_atomically(folder / f"{cell.name}.json", json.dumps(asdict(result)) + "\n")
    if trained is not None and not settings.keep_models:
        # 540 MB for the smallest model in use: a hundred cells would fill a disk.
        for weights in place.rglob("model"):
            shutil.rmtree(weights)
    return result


def train_cell(cell: Cell, setup: CellSetup, steps: int, progress: Progress | None) -> tuple[PolicyRecipe, str]:
    """Train a cell in a run folder of its own: what was interrupted goes on at its last checkpoint.

    Returns:
        the recipe, and the folder of the policy.
    """
    training = {"learning_rate": cell.learning_rate, "seed": cell.seed, "max_steps": steps}
    built = build_arm_recipe(cell.arm, setup.recipe, training, cell.beta)
    recipe: PolicyRecipe = built.model_copy(update={"name": cell.name})
    if isinstance(recipe, Recipe) and ARMS[cell.arm].needs == "on_policy":
        recipe = build_round_recipe(recipe, setup.settings, setup.folder.parent / ROUND_PROMPTS)
        run(recipe, setup.folder, until="prompts", progress=progress)  # claims the folder
        copy_first_samples(setup.folder, setup.folder / cell.name)
    report = run(recipe, setup.folder, progress=progress)
    assert report.model is not None
    return recipe, report.model


def find_top(stated: StatedGoals, recipe: PolicyRecipe | None) -> GoalRequest:
    """Return the highest goal of a policy: a score, or a score per aspect."""
    aspects = list_goal_aspects(recipe) if recipe is not None else ()
    # An aspect without a scale of its own has that of the wording.
    tops = {name: stated.scales[name].top if name in stated.scales else stated.say.high for name in aspects}
    return tops or stated.say.high
