"""The only file that touches TRL's insides. An upgrade that changes them fails `policy/test_trl_bridge.py`.

What is taken from TRL 1.16's DPOTrainer: model preparation (adapters, dropout off, gradient checkpointing), the loop,
distribution, checkpoints and logging of transformers' Trainer beneath it. What is ours is decided in the hooks
that subclasses of `BridgedTrainer` fill in; TRL's own tokenisation, reference pass, loss and metrics never run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import DPOConfig, DPOTrainer

from prefboost.training.engine.accumulation import accumulate, most_of_all, shares_weights_by

__all__ = ["OVERRIDDEN", "BridgedTrainer", "hash_of_weights", "trainer_config", "without_hashing"]

OVERRIDDEN = (
    "_prepare_dataset",
    "_precompute_ref_logps",
    "_get_train_sampler",
    "_get_num_items_in_batch",
    "_save_checkpoint",
    "_send_telemetry",
    "create_model_card",
    "compute_loss",
    "training_step",
    "get_batch_samples",
    "log",
)
"""Methods of DPOTrainer and its bases that are replaced here; each must exist there with the parameters used."""


def hash_of_weights(model: torch.nn.Module) -> str:
    """A hash of all weights, the same in every process."""
    from trl.trainer.utils import hash_module

    found: str = hash_module(model)
    return found


@contextmanager
def without_hashing() -> Iterator[None]:
    """While a trainer is made: TRL does not hash the weights, which it would do even where nothing is compared."""
    from trl.trainer import dpo_trainer

    original = dpo_trainer.hash_module
    dpo_trainer.hash_module = lambda module: ""
    try:
        yield
    finally:
        dpo_trainer.hash_module = original


class BridgedTrainer(DPOTrainer):
    """TRL's DPOTrainer over units: hooks decide what is trained, everything else stays TRL's."""

    loss_is_scaled_for_ga = True

    def units_with_reference(self, units: Dataset, name: str) -> Dataset:
        """Hook: the units with ref_chosen and ref_rejected, or unchanged; called before the first step."""
        raise NotImplementedError

    def unit_sampler(self) -> Sampler[int]:
        """Hook: the order of units."""
        raise NotImplementedError

    def loss_of_batch(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Hook: losses [V] of a collated batch."""
        raise NotImplementedError

    def step_on_batch(self, model: Any, batch: dict[str, Any], views: torch.Tensor) -> torch.Tensor | None:
        """Hook: gradients of an optimiser step's batch on this device; None leaves it to transformers.

        Args:
            model: wrapped.
            batch: collated, on the device.
            views: of the step, over all devices.

        Returns:
            the mean loss, this device's share.
        """
        raise NotImplementedError

    def measured(self) -> dict[str, float]:
        """Hook: numbers on speed and memory for a line of the log."""
        return {}

    def timed(self, part: str) -> Any:
        """Hook: a context in which a part of the work (data, forward_backward) is done."""
        return nullcontext()

    def wants_checkpoint(self) -> bool:
        """Hook: whether a checkpoint that is due is worth its disk space."""
        raise NotImplementedError

    def after_checkpoint(self) -> None:
        """Hook: a checkpoint has been written completely."""
        raise NotImplementedError

    def watched(self) -> dict[str, list[float]]:
        """The numbers to be averaged in the next line of the log, by metric; cleared when they are logged."""
        found: dict[str, list[float]] = self._metrics["train" if self.model.training else "eval"]
        return found

    def accumulate(self, model: Any, losses: Sequence[Callable[[], torch.Tensor]]) -> torch.Tensor:
        """Compute losses one after the other and add up their gradients; devices exchange them once, at the last.

        Returns:
            the sum of the losses, without gradient.
        """
        return accumulate(self.accelerator, model, losses, self.compute_loss_context_manager)

    def most_of_all(self, number: int) -> int:
        """The largest of a number over all processes."""
        return most_of_all(self.accelerator, number)

    def from_all(self, mine: Any) -> list[Any]:
        """An object of every process, in their order."""
        if self.accelerator.num_processes == 1:
            return [mine]
        from accelerate.utils import gather_object

        found: list[Any] = gather_object([mine])
        return found

    @property
    def shards_weights(self) -> bool:
        """Whether processes hold parts of the weights (FSDP, ZeRO), so that they must compute in step."""
        return shares_weights_by(self.accelerator)

    def known_to_all(self, known: dict[bytes, float]) -> dict[bytes, float]:
        """What any process knows, in every process."""
        return {key: value for share in self.from_all(known) for key, value in share.items()}

    def current_epoch(self) -> int:
        """The pass over the units that is running, from 0."""
        return int(round(self.state.epoch or 0.0, 6))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Sum of the losses over the views of the whole optimiser step, or their mean in evaluation."""
        if return_outputs:
            raise NotImplementedError("losses on log-probs have no logits to return; set prediction_loss_only=True")
        losses = self.loss_of_batch(model, inputs)
        if num_items_in_batch is None:
            return losses.mean()
        return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward of a batch."""
        with self.timed("forward_backward"):
            if num_items_in_batch is not None:
                model.train()
                batch = self._prepare_inputs(inputs)
                loss = self.step_on_batch(model, batch, torch.as_tensor(num_items_in_batch))
                if loss is not None:
                    return loss
            found: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return found

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """The batches of an optimiser step."""
        with self.timed("data"):
            return super().get_batch_samples(epoch_iterator, num_batches, device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with what every process watched."""
        mine = self.watched()
        if self.accelerator.num_processes > 1:
            shares = self.from_all(dict(mine))
            mine.clear()
            for share in shares:
                for name, numbers in share.items():
                    mine.setdefault(name, []).extend(numbers)
        super().log(logs | self.measured() if "loss" in logs else logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Ours is written with the final checkpoint."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        return self.units_with_reference(dataset, name)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self.unit_sampler()

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
        """Views of the optimiser step, over all processes."""
        views = torch.tensor(sum(len(batch["views"]) for batch in batch_samples), device=device)
        total: torch.Tensor = self.accelerator.gather(views).sum()
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.wants_checkpoint():
            super()._save_checkpoint(model, trial)
            self.after_checkpoint()

    def _send_telemetry(self) -> None:
        """Nothing is sent anywhere."""


def trainer_config(*, recompute: bool = False, **fields: Any) -> DPOConfig:
    """TRL's configuration for units: TRL neither tokenises, truncates, loads a reference nor drops columns.

    Args:
        recompute: activations in the backward pass (the option was renamed in transformers 5).
        fields: of DPOConfig.
    """
    names = {field.name for field in dataclasses.fields(DPOConfig)}
    option = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    fields[option] = recompute
    return DPOConfig(
        precompute_ref_log_probs=True,  # so that no second model is loaded; `_precompute_ref_logps` is ours
        remove_unused_columns=False,
        prediction_loss_only=True,
        max_length=None,
        disable_dropout=True,
        dataloader_drop_last=False,
        **fields,
    )
