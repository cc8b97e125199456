"""The trainer on units: our losses on log-probs of completions, the reference computed once, faults named."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from trl import DPOConfig

from prefboost.errors import RunError
from prefboost.losses.completion_logps import batches_by_length, pad_sequences
from prefboost.training.batches import UnitCollator, as_pair_logps
from prefboost.training.callbacks import Progress
from prefboost.training.checkpoint import mark_complete
from prefboost.training.policy import Policy, load_model
from prefboost.training.reference import ReferenceCache, sequences_of, with_reference
from prefboost.training.train_settings import Train
from prefboost.training.trl_bridge import BridgedTrainer, hash_of_weights, trainer_config
from prefboost.training.units import Plan, UnitSampler
from prefboost.training.watch import observe

__all__ = ["Data", "PreferenceTrainer", "configure"]

_REFERENCE_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Padded tokens of a batch of the reference pass, which keeps no activations."""


@dataclass(frozen=True)
class Data:
    """Units to train on and units to evaluate on, as datasets with the columns of `tokenise`."""

    train: Dataset
    evaluation: Dataset | None = None


class PreferenceTrainer(BridgedTrainer):
    """Trains a policy on units.

    Args:
        policy: with `add_completion_forward`.
        data: units.
        settings: of the training.
        config: from `configure`.
        folder: of the run; the reference's log-probs are kept in it.
        progress: is told how far the reference pass has come.
        options: further arguments of TRL's trainer (callbacks, peft_config).
    """

    def __init__(
        self, policy: Policy, data: Data, settings: Train, config: DPOConfig, folder: Path, **options: Any
    ) -> None:
        self.settings = settings
        self.folder = folder
        self.progress: Progress | None = options.pop("progress", None)
        super().__init__(
            model=policy.model,
            args=config,
            data_collator=UnitCollator(policy.tokenizer.pad_token_id),
            train_dataset=data.train,
            eval_dataset=data.evaluation,
            processing_class=policy.tokenizer,
            **options,
        )

    def unit_sampler(self) -> Sampler[int]:
        """Permutations of the units, seeded by the settings' seed and the epoch."""
        return UnitSampler(len(self.train_dataset), self.settings.seed, self.current_epoch)

    def loss_of_batch(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Losses [V] of a micro-batch.

        Raises:
            RunError: a loss is not finite; names the pairs.
        """
        logps = model(**{name: batch[name] for name in ("input_ids", "attention_mask", "completion_mask")})
        pairs = as_pair_logps(logps, batch)
        output = self.settings.loss(pairs)
        if not bool(output.losses.isfinite().all()):
            self._refuse(output.losses, batch)
        for name, numbers in observe(output, pairs, batch, self.settings.score_buckets).items():
            self.watched()[name].extend(numbers)
        return output.losses

    def units_with_reference(self, units: Dataset, name: str) -> Dataset:
        """The units with the reference's log-probs, from the run folder where they are known."""
        if not self.settings.uses_reference:
            return units
        model, cache = self._reference()
        table = units.data.table.combine_chunks()
        wanted = sequences_of(table)
        if self.progress is not None:
            self.progress.begin(f"reference log-probs ({name})", len(wanted.prompts))
        logps = cache.fill(
            wanted,
            lambda prompts, completions: self._logps(model, prompts, completions),
            self._share,
            exchange=self.known_to_all,
            writes=self.accelerator.is_main_process,
        )
        if self.progress is not None:
            self.progress.end()
        return Dataset(with_reference(table, logps))

    def wants_checkpoint(self) -> bool:
        """Runs that are over before the first checkpoint write none; longer ones write their last step too."""
        return bool(self.state.global_step < self.state.max_steps or self.state.max_steps > self.args.save_steps)

    def after_checkpoint(self) -> None:
        """Mark the checkpoint as whole: only such a one is resumed from."""
        if self.args.should_save:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")

    def _refuse(self, losses: torch.Tensor, batch: dict[str, Any]) -> None:
        bad = (~losses.isfinite()).tolist()
        ids = [name for name, is_bad in zip(batch["unit_ids"], bad, strict=True) if is_bad]
        raise RunError(
            f"the loss is {losses[~losses.isfinite()][0].item()} at step {self.state.global_step + 1} for the pair(s) "
            f"{', '.join(sorted(set(ids))[:8])}",
            remedy="look at these pairs; lower learning_rate, use precision: fp32, or resume from a checkpoint",
        )

    def _reference(self) -> tuple[Any, ReferenceCache]:
        named = self.settings.reference
        model = self.model if named == "start" else load_model(self.settings, named).to(self.accelerator.device).eval()
        weights = getattr(self, "_precompute_model_hash", None) if named == "start" else None
        attention = model.config._attn_implementation
        numerics = f"{self.settings.precision}-{model.dtype}-{self.accelerator.device.type}-{attention}"
        return model, ReferenceCache(self.folder / "reference", weights or hash_of_weights(model), numerics)

    def _logps(self, model: Any, prompts: list[Sequence[int]], completions: list[Sequence[int]]) -> list[float]:
        """A batch under the reference: the same forward and number types as in training, adapters off."""
        padded = pad_sequences(prompts, completions, self.data_collator.pad_id)
        adapters_off = model.disable_adapter() if hasattr(model, "disable_adapter") else nullcontext()
        was_training = model.training
        model.eval()
        with torch.no_grad(), adapters_off, self.accelerator.autocast():
            logps = model(**{name: tensor.to(self.accelerator.device) for name, tensor in padded.items()})
        model.train(was_training)
        if self.progress is not None:
            self.progress.advance(len(prompts), tokens=int(padded["attention_mask"].sum()))
        found: list[float] = logps.float().tolist()
        return found

    def _share(self, lengths: list[int]) -> list[list[int]]:
        batches = batches_by_length(lengths, _REFERENCE_TOKENS.get(self.accelerator.device.type, 4096))
        return batches[self.accelerator.process_index :: self.accelerator.num_processes]


def configure(settings: Train, plan: Plan, folder: Path, *, evaluates: bool) -> DPOConfig:
    """TRL's configuration for our settings."""
    return trainer_config(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulation,
        max_steps=settings.max_steps or plan.steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=int(settings.warmup_ratio * (settings.max_steps or plan.steps)),
        optim=settings.optimizer,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.precision == "bf16",
        recompute=settings.gradient_checkpointing,
        eval_strategy="steps" if evaluates and settings.eval_every else "no",
        eval_steps=settings.eval_every,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=settings.keep_checkpoints,
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        report_to=list(settings.report_to) or "none",
        seed=settings.seed,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )
