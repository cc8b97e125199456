"""The training stages of a recipe: on pairs that an earlier stage wrote; and training on a table in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.engines.pool import make_room
from prefboost.preferences.stated_goals import StatedGoals
from prefboost.recipes.kinds import PolicyRecipe
from prefboost.runs.folder.manifest import Run
from prefboost.runs.folder.schedule import Stage, Work
from prefboost.runs.pipelines.goal_pairs import PAIRS, read_stated_goals, split_rows
from prefboost.tables import Table
from prefboost.training import Train, TrainReport, train
from prefboost.training.claim import BEGUN, LOG, MANIFEST, MODEL, REPORT
from prefboost.training.data.text_loss import REJECTED_FILE
from prefboost.training.trackers import TRACKING

if TYPE_CHECKING:
    from prefboost.progress import Progress

__all__ = [
    "STATED_BY",
    "TRAINED_FILES",
    "UNFINISHED_FILES",
    "build_training_stage",
    "fingerprint_models",
    "join_folder",
    "read_train_report",
    "train_on",
    "train_on_stage",
]

STATED_BY = ("condition", "relabel")
"""Settings that a training reads free of its key, to learn how goals stand in the pairs (`read_stated_goals`).

The stage that wrote the pairs depends on them.
"""

TRAINED_FILES = (MODEL, REPORT)
"""Files that a finished training leaves in its folder."""

UNFINISHED_FILES = (MANIFEST, BEGUN, LOG, REJECTED_FILE, "checkpoints", TRACKING, f"{MODEL}.unfinished")
"""Other files of a training; all of them go when it is begun anew with other settings."""


def build_training_stage(
    name: str,
    folder: str,
    settings: Mapping[str, Any],
    work: Work,
    *,
    after: tuple[str, ...],
    inputs: Mapping[str, str],
) -> Stage:
    """Build a stage that trains a model: all devices do it together.

    Args:
        name: of the stage.
        folder: where in the run folder the training goes; "" is the run folder itself.
        settings: what the model depends on.
        work: trains; its notes go into the manifest.
        after: the stages whose outputs it reads.
        inputs: fingerprints of the models that it reads.
    """
    return Stage(
        name, settings, join_folder(folder, *TRAINED_FILES), work, after=after, inputs=inputs,
        scraps=join_folder(folder, *UNFINISHED_FILES), together=True,
    )  # fmt: skip


def join_folder(folder: str, *names: str) -> tuple[str, ...]:
    """Return paths of files in a folder of a run; "" is the run folder itself."""
    return tuple(f"{folder}/{name}" if folder else name for name in names)


def train_on_stage(
    recipe: PolicyRecipe, settings: Train, run: Run, stage: str, *, folder: str = "", progress: Progress | None = None
) -> TrainReport:
    """Train on the pairs that a stage has written.

    Args:
        recipe: of the run.
        settings: of this training.
        run: the run folder.
        stage: the stage that wrote the pairs; its notes hold how goals stand in them.
        folder: where in the run folder they are, and the training goes.
        progress: receives how far it has come.
    """
    import pyarrow.parquet as pq

    pairs, evaluation = split_rows(pq.read_table(run.path / folder / PAIRS))
    make_room()
    goals = read_stated_goals(recipe, run.notes(stage))
    return train(pairs, settings, run.path / folder, eval_pairs=evaluation, goals=goals, progress=progress)


def train_on(
    table: Table, settings: Train, out: str | Path = "policy", *, progress: Progress | None = None
) -> TrainReport:
    """Train on GoalPairs in memory: ``pb.train(data, pb.Train(model=..., loss=pb.DPO(beta=0.01)))``.

    Args:
        table: GoalPairs after `condition`; how goals are said is taken from its history.
        settings: a `Train`.
        out: run folder; the model is saved in ``out/model``.
        progress: receives how far training has come.

    Raises:
        RunError, DataError, ModelError: see `prefboost.training.policy.train`.
    """
    pairs, evaluation = split_rows(table.frame.to_arrow())
    goals = StatedGoals.of_table(table)
    return train(pairs, settings, Path(out), eval_pairs=evaluation, goals=goals, progress=progress)


def read_train_report(folder: Path) -> TrainReport:
    """Read the report of a training that has come to its end."""
    return TrainReport.from_record(json.loads((folder / REPORT).read_text(encoding="utf-8")))


def fingerprint_models(*names: str) -> dict[str, str]:
    """Hash those models that are folders; hub ids are pinned by their revision instead."""
    from prefboost.engines.models.weights import fingerprint_of_model

    return {name: fingerprint_of_model(name) for name in names if Path(name).is_dir()}
