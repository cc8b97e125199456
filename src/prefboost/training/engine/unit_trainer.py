"""The trainer that policies and reward models share: units in a seeded order, losses over a whole step, checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from prefboost.errors import RunError
from prefboost.training.data.units import Plan, UnitSampler
from prefboost.training.engine.accumulation import accumulate, gather_maximum, splits_weights
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.numbers import budget_of
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward
from prefboost.training.saving.checkpoint import mark_complete

__all__ = ["UnitTrainer", "list_options", "name_recompute_option", "open_token_budget"]


class UnitTrainer(Trainer):
    """Transformers' Trainer over units. Subclasses say what a batch's losses are and how many items it counts.

    They set ``settings`` and ``budget`` before they call ``super().__init__``.
    """

    # `compute_loss` divides by the items of the whole step, so transformers must not divide by its micro-batches.
    loss_is_scaled_for_ga = True

    settings: Train | TrainReward
    budget: TokenBudget

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.remove_callback(PrinterCallback)  # the log is a file, and progress is the caller's

    def compute_losses(self, model: Any, batch: dict[str, Any]) -> Tensor:
        """Compute the losses [N] of the N items of a collated batch (hook)."""
        raise NotImplementedError

    def count_items(self, batch: Mapping[str, Any]) -> int:
        """Count the items of a batch over which losses are averaged (hook)."""
        raise NotImplementedError

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """Compute the sum of the losses divided by the items of the optimiser step; in evaluation their mean.

        Raises:
            RunError: a loss is not finite; names rows.
        """
        if return_outputs:
            raise NotImplementedError("there are no logits or rewards to return; set prediction_loss_only=True")
        losses = self.compute_losses(model, inputs)
        if num_items_in_batch is None:
            return losses.mean()
        # Gradients are averaged over processes; times their number, that is a sum over the items of all of them.
        return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    def refuse_losses(self, losses: Tensor, rows: str, noun: str) -> None:
        """Stop the training at losses that are not finite.

        Args:
            losses: [N], one of them not finite.
            rows: names the rows, e.g. `` for the pair(s) a, b``.
            noun: rows or pairs.

        Raises:
            RunError: always.
        """
        raise RunError(
            f"the loss is {losses[~losses.isfinite()][0].item()} at step {self.state.global_step + 1}{rows}",
            remedy=f"look at these {noun}; lower learning_rate, use precision: fp32, or resume from a checkpoint",
        )

    def accumulate(self, model: Any, losses: Sequence[Callable[[], Tensor]]) -> Tensor:
        """Compute losses in turn and add up their gradients; devices exchange them once, at the last.

        Returns:
            the sum of the losses, without gradient.
        """
        return accumulate(self.accelerator, model, losses, self.compute_loss_context_manager)

    def equalise_parts(self, parts: list[list[int]]) -> list[list[int]]:
        """Repeat the last part until all devices have equally many, where they hold parts of the weights.

        Such devices gather the weights in every forward: one without a part would leave the others waiting. What a
        repeated part (behind ``len(parts)``) computes must not count.
        """
        missing = gather_maximum(self.accelerator, len(parts)) - len(parts) if self.shards_weights else 0
        return parts + parts[-1:] * missing

    def gather_objects(self, mine: Any) -> list[Any]:
        """Gather an object from every process, in their order."""
        if self.accelerator.num_processes == 1:
            return [mine]
        from accelerate.utils import gather_object

        objects: list[Any] = gather_object([mine])
        return objects

    @property
    def shards_weights(self) -> bool:
        """Whether processes hold parts of the weights (FSDP, ZeRO), so that they must compute in step."""
        return splits_weights(self.accelerator)

    def current_epoch(self) -> int:
        """Return the number of the running pass over the units, from 0."""
        # A resumed run counts epochs in fractions of steps, whose rounding error must not begin the pass before.
        return int(round(self.state.epoch or 0.0, 6))

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return UnitSampler(len(self.train_dataset), self.settings.seed, self.current_epoch)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> Tensor:
        """Count the items of the optimiser step, over all processes."""
        # Counted before the first micro-batch, since every loss of the step is divided by it.
        items = torch.tensor(sum(self.count_items(batch) for batch in batch_samples), device=device)
        total: Tensor = self.accelerator.gather(items).sum()
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint and mark it as whole: only such a one is resumed from."""
        # A run that ends before its first checkpoint saves its model at once: nothing is gained by a copy of it.
        if self.state.global_step >= self.state.max_steps <= self.args.save_steps:
            return
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


def open_token_budget(settings: Train | TrainReward, config: TrainingArguments) -> TokenBudget:
    """Open the token budget of a run: that of the settings, or one that an earlier call had to lower."""
    return TokenBudget(
        budget_of(settings, config.device.type),
        alone=config.world_size == 1,
        kept=Path(config.output_dir) / "token_budget.json",
    )


def list_options(settings: Train | TrainReward, plan: Plan, folder: Path, *, evaluates: bool) -> dict[str, Any]:
    """List the options of transformers' TrainingArguments that our settings decide, whatever is trained.

    Args:
        settings: of the training.
        plan: how units are laid out over steps.
        folder: of the run; checkpoints go below it.
        evaluates: whether there are units to evaluate on.
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
        "eval_strategy": "steps" if evaluates and settings.eval_every else "no",
        "eval_steps": settings.eval_every,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": settings.keep_checkpoints,
        "logging_steps": settings.log_every,
        # A loss that is not finite stops the training; filtered, it would read as the loss before.
        "logging_nan_inf_filter": False,
        "report_to": list(settings.report_to) or "none",
        "seed": settings.seed,
        "use_cpu": not torch.cuda.is_available(),
        "disable_tqdm": True,
    }


def name_recompute_option(config: type[TrainingArguments]) -> str:
    """Return the name of the option that recomputes activations in the backward pass; transformers 5 renamed it."""
    names = {field.name for field in dataclasses.fields(config)}
    return "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
