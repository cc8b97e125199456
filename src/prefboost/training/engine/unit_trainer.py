"""The trainer that policies and reward models share: units in a seeded order, losses over a whole step, checkpoints."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PrinterCallback, Trainer, TrainingArguments

from prefboost.errors import RunError
from prefboost.training.data.units import Data, UnitSampler
from prefboost.training.engine.accumulation import accumulate, gather_maximum, splits_weights
from prefboost.training.engine.configuration import open_token_budget
from prefboost.training.engine.preparation import prepare_model, refuse_unsupported
from prefboost.training.policy.settings import Train
from prefboost.training.reward.settings import TrainReward
from prefboost.training.saving.checkpoint import mark_complete

__all__ = ["Start", "UnitTrainer"]


class Start(Protocol):
    """A model with its tokenizer, before its training: a `Policy` or a `RewardModel`."""

    @property
    def model(self) -> Any:
        """Of transformers, without new adapters."""

    @property
    def tokenizer(self) -> Any:
        """Of the model."""


class UnitTrainer(Trainer):
    """Transformers' Trainer over units. Subclasses say what a batch's losses are and how many items it counts.

    Args:
        start: the model and its tokenizer.
        data: units to train on, and to evaluate on.
        settings: of the training.
        config: from `prefboost.training.engine.configuration.configure_training`.
        options: further arguments of transformers' Trainer (data_collator, callbacks).
    """

    # `compute_loss` divides by the items of the whole step, so transformers must not divide by its micro-batches.
    loss_is_scaled_for_ga = True

    task = "CAUSAL_LM"
    """Peft's name for what the model does."""

    packs: bool  # a batch is a whole optimiser step, computed in parts within the token budget; set by subclasses

    settings: Train | TrainReward

    def __init__(
        self, start: Start, data: Data, settings: Train | TrainReward, config: TrainingArguments, **options: Any
    ) -> None:
        refuse_unsupported(config)
        self.settings = settings
        self.budget = open_token_budget(settings, config)
        self._pending: dict[str, dict[str, list[tuple[str, float]]]] = {
            mode: defaultdict(list) for mode in ("train", "eval")
        }
        super().__init__(
            **self.prepare_start(start, config),
            args=config,
            train_dataset=data.train,
            eval_dataset=data.evaluation,
            processing_class=start.tokenizer,
            **options,
        )
        self.remove_callback(PrinterCallback)  # the log is a file, and progress is the caller's

    def prepare_start(self, start: Start, config: TrainingArguments) -> dict[str, Any]:
        """Prepare the model for its first step; return it as arguments of transformers' Trainer."""
        return {"model": prepare_model(start.model, self.settings, config, task=self.task)}

    def compute_losses(self, model: Any, batch: dict[str, Any]) -> Tensor:
        """Compute the losses [N] of the N items of a collated batch (hook)."""
        raise NotImplementedError

    def count_items(self, batch: Mapping[str, Any]) -> int:
        """Count the items of a batch over which losses are averaged (hook)."""
        raise NotImplementedError

    def step_within(self, model: Any, batch: Mapping[str, Any], items: Tensor, tokens: int) -> Tensor:
        """Add up the gradient of an optimiser step, micro-batch by micro-batch (hook, where the trainer ``packs``).

        Args:
            model: wrapped.
            batch: collated, all that this device has of the step.
            items: of the step over all devices, a tensor [].
            tokens: most tokens of a micro-batch's stream.

        Returns:
            this device's share of the mean loss [], without gradient.
        """
        raise NotImplementedError

    def note(self, metric: str, names: Sequence[str], numbers: Sequence[float]) -> None:
        """Note numbers [N] to be averaged in the next line of the log, each under the name of its item.

        Args:
            metric: its name in the log.
            names: of the items, unique over all units.
            numbers: NaN is no number: an item without one is left out of the mean, not counted as zero.
        """
        named = [(name, number) for name, number in zip(names, numbers, strict=True) if not math.isnan(number)]
        if named:
            self.pending_metrics[metric] += named

    @property
    def pending_metrics(self) -> dict[str, list[tuple[str, float]]]:
        """Named numbers to be averaged in the next line of the log, by metric; cleared when they are logged."""
        return self._pending["train" if self.model.training else "eval"]

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run forward and backward of a batch; packed, in micro-batches within the token budget.

        Raises:
            RunError: a loss is not finite, or memory is short whatever the budget.
        """
        if not self.packs:
            whole: Tensor = super().training_step(model, inputs, num_items_in_batch)
            return whole
        model.train()
        # Schedule-free optimisers hold other weights for evaluation, and must be told to go back, as transformers does.
        if callable(to_training := getattr(self.optimizer, "train", None)):
            to_training()
        batch, items = self._prepare_inputs(inputs), torch.as_tensor(num_items_in_batch)
        return self.budget.within(
            lambda tokens: self.step_within(model, batch, items, tokens),
            model.zero_grad,
            f"step {self.state.global_step + 1}",
        )

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple[Any, None, None]:
        """Compute the loss of an evaluation batch alone, without gradient."""
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)), None, None

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the averages of the noted metrics over all processes."""
        mode = "train" if self.model.training else "eval"
        shares = self.gather_objects(dict(self.pending_metrics))
        # In the order of noting, not of a set, so that the keys of every line stand alike in every run.
        for name in dict.fromkeys(name for share in shares for name in share):
            # In training the loss is transformers' own.
            if mode == "eval" or name != "loss":
                named = [pair for share in shares for pair in share.get(name, [])]
                # Processes fill up the last round of an evaluation with units of the first; by their names they count
                # once. Within a step of training every unit stands once, and the next pass is another observation.
                numbers = list(dict(named).values()) if mode == "eval" else [number for _, number in named]
                logs[f"eval_{name}" if mode == "eval" else name] = sum(numbers) / len(numbers)
        self.pending_metrics.clear()
        super().log(logs, start_time)

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

    @property
    def layout(self) -> dict[str, int]:
        """The number of processes, and of the units that an optimiser step has over all of them."""
        per_process = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
        return {"units_per_step": per_process * self.args.world_size, "processes": self.args.world_size}

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
        # Every process writes its random state, and with FSDP its part of the weights: the first one is done earlier.
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}", self.layout)
