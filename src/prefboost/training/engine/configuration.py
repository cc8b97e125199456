"""Our settings in the words of transformers, the same for everything that is trained."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from prefboost.training.data.units import Plan
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.numbers import budget_of
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward
from prefboost.training.trackers import PROJECT, name_run

__all__ = ["configure_training", "list_options", "name_recompute_option", "open_token_budget"]


def configure_training(
    settings: Train | TrainReward, plan: Plan, folder: Path, *, evaluates: bool
) -> TrainingArguments:
    """Build transformers' configuration of a training (`list_options`)."""
    return TrainingArguments(**list_options(settings, plan, folder, evaluates=evaluates))


def list_options(
    settings: Train | TrainReward,
    plan: Plan,
    folder: Path,
    *,
    evaluates: bool,
    kind: type[TrainingArguments] = TrainingArguments,
) -> dict[str, Any]:
    """List the options of transformers' TrainingArguments that our settings decide, whatever is trained.

    Args:
        settings: of the training.
        plan: how units are laid out over steps.
        folder: of the run; checkpoints go below it.
        evaluates: whether there are units to evaluate on.
        kind: of the configuration.
    """
    # Given as steps, not as epochs: transformers would round a last, smaller step its own way.
    steps = settings.max_steps or plan.steps
    return {
        "output_dir": str(folder / "checkpoints"),
        "per_device_train_batch_size": plan.micro_batch,
        "per_device_eval_batch_size": plan.micro_batch,
        "gradient_accumulation_steps": plan.accumulation,
        "max_steps": steps,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": int(settings.warmup_ratio * steps),
        "optim": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": settings.precision == "bf16",
        name_recompute_option(kind): settings.gradient_checkpointing,
        "eval_strategy": "steps" if evaluates and settings.eval_every else "no",
        "eval_steps": settings.eval_every,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": settings.keep_checkpoints,
        "logging_steps": settings.log_every,
        # A loss that is not finite stops the training; filtered, it would read as the loss before.
        "logging_nan_inf_filter": False,
        "report_to": list(settings.report_to) or "none",
        "run_name": os.environ.get("WANDB_NAME") or name_run(folder),
        "project": os.environ.get("TRACKIO_PROJECT") or PROJECT,
        "seed": settings.seed,
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
        # Units are collated here: their columns are no arguments of the model, and there are no logits to gather.
        "remove_unused_columns": False,
        "prediction_loss_only": True,
        # Pinning walks through every unit; only the numbers of pairs go to a device from there.
        "dataloader_pin_memory": isinstance(settings, Train) and torch.cuda.is_available(),
    }


def name_recompute_option(config: type[TrainingArguments]) -> str:
    """Return the name of the option that recomputes activations in the backward pass; transformers 5.22 renamed it."""
    names = {field.name for field in dataclasses.fields(config)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"


def open_token_budget(settings: Train | TrainReward, config: TrainingArguments) -> TokenBudget:
    """Open the token budget of a run: that of the settings, or one that an earlier call had to lower."""
    return TokenBudget(
        budget_of(settings, config.device.type),
        alone=config.world_size == 1,
        kept=Path(config.output_dir) / "token_budget.json",
    )
