"""Trackers of transformers (TensorBoard, Weights & Biases ...): checked before training, their files kept.

trackio's stay where it keeps those of all runs, side by side: it fixes that place at its first import.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prefboost.errors import RunError, SettingsError, suggest_name
from prefboost.training.claim import MANIFEST

__all__ = ["PROJECT", "TRACKING", "check_trackers", "clear_checkpoints", "logs_in", "name_run"]

TRACKING = "tracking"
"""The folder of a run in which trackers keep their files."""

PROJECT = "prefboost"
"""The project under which trackers list a run, unless the user names one."""

_OURS = ("checkpoint-*", "token_budget.json", "reference_budget.json")
"""Files that training itself writes beside checkpoints."""

_VARIABLES = {
    "tensorboard": {"TENSORBOARD_LOGGING_DIR": "{}/tensorboard"},
    "wandb": {"WANDB_DIR": "{}", "WANDB_PROJECT": PROJECT},  # wandb makes a folder of its own name in it
    "swanlab": {"SWANLAB_LOG_DIR": "{}/swanlab"},
    "comet_ml": {"COMET_OFFLINE_DIRECTORY": "{}/comet"},
    "mlflow": {"MLFLOW_TRACKING_URI": "sqlite:///{}/mlflow.db"},
}
"""Tracker -> variables that tell it where to write; {} is `TRACKING`."""


def check_trackers(names: Sequence[str]) -> None:
    """Ask transformers for every tracker, before hours of work depend on it.

    Args:
        names: ``report_to``.

    Raises:
        SettingsError: there is no such tracker, or its library is not installed or not set up.
    """
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for name in names:
        if name in ("none", "all"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            # Otherwise a misspelt tracker is found when transformers builds its trainer, after all data are prepared.
            raise SettingsError(
                f"report_to: there is no tracker {name!r}{suggest_name(name, INTEGRATION_TO_CALLBACK)}",
                remedy=f"choose of {', '.join(sorted(INTEGRATION_TO_CALLBACK))}",
            )
        try:
            # Their constructors import the library and read its settings, which is where most set-ups fail.
            INTEGRATION_TO_CALLBACK[name]()
        except Exception as error:  # each tracker complains in its own way
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise SettingsError(
                f"report_to: {name} cannot be used: {reason[:200]}",
                remedy=f"pip install {name.replace('_', '-')}, or leave it out of report_to",
            ) from error


@contextmanager
def logs_in(
    folder: Path, trackers: Sequence[str], environment: MutableMapping[str, str] | None = None
) -> Iterator[None]:
    """Let trackers write into `TRACKING` inside a run folder while the block runs; what the user set stays as it is.

    Args:
        folder: of the run.
        trackers: ``report_to``.
        environment: of the process.
    """
    variables = os.environ if environment is None else environment
    home = (folder / TRACKING).absolute()
    places: dict[str, str] = {}
    for name, defaults in _VARIABLES.items():
        places |= defaults if name in trackers or "all" in trackers else {}
    if "mlflow" in sys.modules and sys.modules["mlflow"].is_tracking_uri_set():
        places.pop("MLFLOW_TRACKING_URI", None)  # the calling program has told mlflow where to write
    # Trackers read the environment when they start; a variable that the user has set wins.
    set_here = {name: place.format(home) for name, place in places.items() if name not in variables}
    if set_here:
        home.mkdir(parents=True, exist_ok=True)
    variables.update(set_here)
    wandb = sys.modules.get("wandb")
    theirs = wandb is not None and wandb.run is not None  # the calling program logs into a run of its own
    try:
        yield
    finally:
        for name in set_here:
            variables.pop(name, None)
        # transformers leaves the run open, and the next training of this process would write into it.
        if "wandb" in sys.modules and not theirs and sys.modules["wandb"].run is not None:
            sys.modules["wandb"].finish()


def name_run(folder: Path) -> str:
    """Name a training for trackers: its folder, behind the run folder that it is a part of (``my-run/round-1``).

    Args:
        folder: of the training.
    """
    whole = folder.absolute()
    return f"{whole.parent.name}/{whole.name}" if (whole.parent / MANIFEST).exists() else whole.name


def clear_checkpoints(folder: Path) -> None:
    """Remove what was only needed to resume. What trackers wrote beside it moves to `TRACKING`.

    Args:
        folder: of the run.

    Raises:
        RunError: a tracker's file cannot be moved.
    """
    # Some trackers write beside checkpoints whatever they are told, and those files are the user's.
    checkpoints = folder / "checkpoints"
    for pattern in _OURS:
        for path in checkpoints.glob(pattern):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    for path in sorted(checkpoints.iterdir()) if checkpoints.is_dir() else []:
        target = folder / TRACKING / path.name
        target.parent.mkdir(exist_ok=True)
        try:
            if target.is_dir() and path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                shutil.move(path, target)
        except OSError as error:
            raise RunError(
                f"cannot move the files that a tracker wrote to {path}: {error.strerror or error}",
                remedy=f"move it yourself, then delete {checkpoints}; the model is saved",
            ) from error
    shutil.rmtree(checkpoints, ignore_errors=True)
