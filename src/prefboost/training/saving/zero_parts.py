"""Checkpoints of ZeRO-3 for another number of processes: DeepSpeed's parts are put together once, by its own tool."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from prefboost.errors import RunError
from prefboost.training.engine.preparation import parts_weights_with_deepspeed
from prefboost.training.saving.checkpoint import MARK

__all__ = ["fit_zero_parts"]


class _StateByGroup(TrainerCallback):
    """Give every group of parameters its own state again, which DeepSpeed 0.19 takes from the first group for all.

    Args:
        trainer: whose optimiser was restored from the whole checkpoint.
        path: of the optimiser's state in the whole checkpoint.
    """

    def __init__(self, trainer: Any, path: Path) -> None:
        self.trainer = trainer
        self.path = path

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """See the class; the checkpoint has been read, and no step was taken."""
        optimizer = self.trainer.model_wrapped.optimizer.optimizer
        # One tensor counts the steps of all groups: each of them would add one per step, and the bias correction of
        # Adam would be that of a later step.
        for state in optimizer.state.values():
            state["step"] = torch.as_tensor(state["step"]).clone()
        # The groups differ in weight decay. Mapped into memory: the file also holds the states of one process.
        saved = torch.load(self.path, map_location="cpu", mmap=True, weights_only=False)["param_groups"]
        for group, before in zip(optimizer.param_groups, saved, strict=True):
            group.update({name: value for name, value in before.items() if name != "params"})


def fit_zero_parts(checkpoint: Path, trainer: Any, layout: Mapping[str, int]) -> None:
    """Let DeepSpeed resume from parts that another number of processes wrote; all else is left as it is.

    One process at a time calls this; the first one writes.

    Args:
        checkpoint: whole.
        trainer: whose ``args`` and ``accelerator`` tell whether DeepSpeed parts the weights; its configuration changes.
        layout: ``processes`` of the run that resumes.

    Raises:
        RunError: DeepSpeed cannot put the parts together.
    """
    before = json.loads((checkpoint / MARK).read_text(encoding="utf-8")).get("processes", layout["processes"])
    if not parts_weights_with_deepspeed(trainer.args) or before == layout["processes"]:
        return
    # DeepSpeed writes this file last, so that a conversion which was killed is made anew.
    parts = checkpoint / (checkpoint / "latest").read_text(encoding="utf-8").strip()
    whole = parts.with_name(f"{parts.name}_universal")
    if not (checkpoint / "latest_universal").is_file():
        shutil.rmtree(whole, ignore_errors=True)
        # In a process of its own: it holds all weights and optimiser states, and prints to standard output.
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
        # One worker each: more of them multiply the memory, and a checkpoint is converted once.
        workers = ["--num_extract_workers", "1", "--num_merge_workers", "1"]
        done = subprocess.run(
            [*command, "--input_folder", str(parts), "--output_folder", str(whole), *workers],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise RunError(
                f"{checkpoint}: {before} processes wrote it in parts, which DeepSpeed cannot put together for "
                f"{layout['processes']}: {reason}",
                remedy=f"start the same command with {before} processes; with an optimiser of the Adam family and room "
                "on the disk for a second copy of the checkpoint, any number of processes can resume",
            )
    # Read when DeepSpeed's engine is made, at the start of the training.
    trainer.accelerator.state.deepspeed_plugin.deepspeed_config["checkpoint"] = {"load_universal": True}
    trainer.add_callback(_StateByGroup(trainer, whole / "zero" / "optimizer_state.pt"))
