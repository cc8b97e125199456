"""The course of every training, whatever is trained: alone in its folder, resumed, run to the end, saved, reported."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefboost.atomic import write_atomically
from prefboost.devices import release_memory
from prefboost.statistics.json_form import replace_nan
from prefboost.training.claim import (
    LOG,
    REPORT,
    TRAINING_LOCK,
    check_installed,
    hold_folder,
    is_main_process,
    leave_group_at_exit,
)
from prefboost.training.report import TrainReport
from prefboost.training.saving.disk import explain_disk
from prefboost.training.trackers import clear_checkpoints, logs_in

if TYPE_CHECKING:
    import pyarrow as pa

    from prefboost.progress import Progress
    from prefboost.training.engine.unit_trainer import UnitTrainer
    from prefboost.training.optimisation import Optimisation

__all__ = ["build_callbacks", "describe_inputs", "finish_training", "open_session", "run_to_end"]

Save = Callable[[Any, Mapping[str, Any] | None], None]
"""Writes the model folder: the unwrapped model, and all its weights where this device holds but a part of them."""


@contextmanager
def open_session(out: Path, settings: Optimisation) -> Iterator[None]:
    """Keep other trainings out of a run folder, and explain failures of its disk, while the block runs.

    Args:
        out: run folder.
        settings: of the training; their trackers write below the run folder.

    Raises:
        MissingExtra: a library that training imports is not installed.
        RunError: it is installed in a version that is not supported, another process trains in the folder, or its disk
            is full.
    """
    check_installed(*settings.extras)
    with ExitStack() as stack:
        # Processes of one launch share the folder, so only the first of them holds its lock.
        if is_main_process(os.environ):
            stack.enter_context(hold_folder(out, TRAINING_LOCK))
        stack.enter_context(explain_disk(out))
        stack.enter_context(logs_in(out, settings.report_to))
        # Weights, gradients and the optimiser's state would otherwise wait in reference cycles while others work.
        stack.callback(release_memory)
        yield


def describe_inputs(rows: pa.Table, eval_rows: pa.Table | None, settings: Optimisation) -> dict[str, Any]:
    """Describe settings and data as JSON values; a run folder belongs to one such description."""
    from prefboost.training.saving.checkpoint import fingerprint_table

    return {
        "train": settings.model_dump(mode="json"),
        "data": fingerprint_table(rows),
        "eval_data": None if eval_rows is None else fingerprint_table(eval_rows),
    }


def build_callbacks(
    settings: Optimisation, out: Path, progress: Progress | None, items_per_step: float, tokens_per_item: float
) -> list[Any]:
    """Build the callbacks of a trainer: its log, checkpoints by time, and progress where somebody watches.

    Args:
        settings: of the training.
        out: run folder.
        progress: receives every step; None: nobody watches.
        items_per_step: pairs (or texts) of an optimiser step, on average.
        tokens_per_item: tokens of a pair (or text), on average.
    """
    from prefboost.training.engine.callbacks import JsonLog, SaveByTime, StepProgress

    # The log comes first: progress then shows a loss that is already on disk.
    callbacks: list[Any] = [JsonLog(out / LOG), SaveByTime(settings.save_minutes)]
    if progress is not None:
        callbacks.append(StepProgress(progress, items_per_step, tokens_per_item))
    return callbacks


def run_to_end(trainer: UnitTrainer, out: Path) -> int:
    """Train to the last step, from the last whole checkpoint on; evaluate once where no interval is set.

    Returns:
        the step at which a resumed run began; 0 for a fresh run.

    Raises:
        RunError: with this number of processes, the steps of the checkpoint would have had other units.
    """
    from prefboost.training.saving.checkpoint import last_complete, refuse_other_steps
    from prefboost.training.saving.zero_parts import fit_zero_parts

    # `last_complete` deletes half-written checkpoints: one process does so while the others wait.
    with trainer.accelerator.main_process_first():
        checkpoint = last_complete(out / "checkpoints")
    if checkpoint is not None:
        refuse_other_steps(checkpoint, trainer.layout)
        with trainer.accelerator.main_process_first():
            fit_zero_parts(checkpoint, trainer, trainer.layout)
    # transformers restores optimiser, schedule and random states, and skips units that were trained on.
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if trainer.eval_dataset is not None and trainer.settings.eval_every is None:
        trainer.evaluate()
    return 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))


def finish_training(trainer: UnitTrainer, report: TrainReport, out: Path, save: Save) -> None:
    """Save the model, then the report, then remove what was only needed to resume.

    In this order a kill at any moment leaves either checkpoints to resume from or a finished run.
    """
    accelerator = trainer.accelerator
    # Gathering weights from all devices is collective: every process takes part, and only the first one writes.
    weights = accelerator.get_state_dict(trainer.model_wrapped) if trainer.shards_weights else None
    if accelerator.is_main_process:
        save(accelerator.unwrap_model(trainer.model), weights)
        write_atomically(out / REPORT, json.dumps(replace_nan(asdict(report)), indent=2, allow_nan=False) + "\n")
        clear_checkpoints(out)
    # Others must not leave while the first process still gathers or writes.
    accelerator.wait_for_everyone()
    leave_group_at_exit(accelerator.num_processes)
