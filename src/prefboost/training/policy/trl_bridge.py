"""The only file that touches TRL's insides. An upgrade that changes them fails `policy/test_trl_bridge.py`.

What is taken from TRL 1.16's DPOTrainer: model preparation (adapters, dropout off, gradient checkpointing), the loop,
distribution, checkpoints and logging of transformers' Trainer beneath it. What is ours is decided in the hooks
that subclasses of `BridgedTrainer` fill in; TRL's own tokenisation, reference pass, loss and metrics never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from prefboost.training.engine.unit_trainer import UnitTrainer, name_recompute_option

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
"""Methods of DPOTrainer and its bases that are replaced here or in `UnitTrainer`; each must exist there, with the
parameters used."""


def hash_of_weights(model: torch.nn.Module) -> str:
    """Hash all weights; the hash is the same in every process."""
    from trl.trainer.utils import hash_module

    digest: str = hash_module(model)
    return digest


@contextmanager
def without_hashing() -> Iterator[None]:
    """Keep TRL from hashing the weights while a trainer is built: it would, even where nothing is compared."""
    from trl.trainer import dpo_trainer

    # Hashing all weights of a large model takes minutes, and TRL's cache of log-probs is not used.
    original = dpo_trainer.hash_module
    dpo_trainer.hash_module = lambda module: ""
    try:
        yield
    finally:
        dpo_trainer.hash_module = original


class BridgedTrainer(UnitTrainer, DPOTrainer):
    """TRL's DPOTrainer over units: hooks decide what is trained, everything else stays TRL's."""

    def add_reference_logps(self, units: Dataset, name: str) -> Dataset:
        """Add ref_chosen and ref_rejected to units, or return them unchanged (hook; called before the first step)."""
        raise NotImplementedError

    def step_on_batch(self, model: Any, batch: dict[str, Any], views: torch.Tensor) -> torch.Tensor | None:
        """Compute the gradients of an optimiser step's batch on this device (hook); None leaves it to transformers.

        Args:
            model: wrapped.
            batch: collated, on the device.
            views: of the step, over all devices.

        Returns:
            the mean loss, this device's share.
        """
        raise NotImplementedError

    def read_meter(self) -> dict[str, float]:
        """Read numbers on speed and memory for a line of the log (hook)."""
        return {}

    def time_part(self, part: str) -> Any:
        """Return a context in which a part of the work (data, forward_backward) is done (hook)."""
        return nullcontext()

    def count_items(self, batch: Mapping[str, Any]) -> int:
        """Count the views of a batch."""
        return len(batch["views"])

    @property
    def pending_metrics(self) -> dict[str, list[float]]:
        """Numbers to be averaged in the next line of the log, by metric; cleared when they are logged."""
        numbers: dict[str, list[float]] = self._metrics["train" if self.model.training else "eval"]
        return numbers

    def merge_over_processes(self, logps: dict[bytes, float]) -> dict[bytes, float]:
        """Merge the entries of every process into one mapping, the same in each of them."""
        return {key: value for share in self.gather_objects(logps) for key, value in share.items()}

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Run forward and backward of a batch."""
        with self.time_part("forward_backward"):
            if num_items_in_batch is not None:
                model.train()
                # Without a count of items it is a step of transformers' own making (e.g. of a batch-size search).
                batch = self._prepare_inputs(inputs)
                loss = self.step_on_batch(model, batch, torch.as_tensor(num_items_in_batch))
                if loss is not None:
                    return loss
            whole: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return whole

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """Get the batches of an optimiser step."""
        with self.time_part("data"):
            return super().get_batch_samples(epoch_iterator, num_batches, device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the metrics of every process."""
        metrics = self.pending_metrics
        if self.accelerator.num_processes > 1:
            shares = self.gather_objects(dict(metrics))
            # All processes end up with the same numbers, so that TRL's own average over processes changes nothing.
            metrics.clear()
            for share in shares:
                for name, numbers in share.items():
                    metrics.setdefault(name, []).extend(numbers)
        super().log(logs | self.read_meter() if "loss" in logs else logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: ours comes with the final checkpoint."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, name: str, batch_size: int) -> Dataset:
        return self.add_reference_logps(dataset, name)

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


def trainer_config(*, recompute: bool = False, **fields: Any) -> DPOConfig:
    """Build TRL's configuration for units: TRL neither tokenises, truncates, loads a reference nor drops columns.

    Args:
        recompute: activations in the backward pass (the option was renamed in transformers 5).
        fields: of DPOConfig.
    """
    fields[name_recompute_option(DPOConfig)] = recompute
    return DPOConfig(
        precompute_ref_log_probs=True,  # so that no second model is loaded; `_precompute_ref_logps` is ours
        remove_unused_columns=False,
        prediction_loss_only=True,
        max_length=None,
        disable_dropout=True,
        dataloader_drop_last=False,
        **fields,
    )
