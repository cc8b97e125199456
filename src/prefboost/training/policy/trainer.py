"""The trainer on units: our losses on log-probs of completions, the reference computed once, faults named."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.utils.data import Sampler
from trl import DPOConfig

from prefboost.errors import RunError
from prefboost.losses import LossOutput, PairLogps
from prefboost.losses.router_balance import choose_balance_weight
from prefboost.packing import enable_packing, measure_difference, probe_support
from prefboost.progress import Progress
from prefboost.training.data.units import Plan, UnitSampler
from prefboost.training.engine.callbacks import OptimizerClock
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.micro_batches import split_by_budget
from prefboost.training.engine.numbers import budget_of
from prefboost.training.engine.throughput import Meter, cost_of
from prefboost.training.policy.batches import PaddedCollator, UnitCollator, as_pair_logps, part_of
from prefboost.training.policy.model import Policy, add_completion_forward, load_model
from prefboost.training.policy.prepare import Data
from prefboost.training.policy.settings import Train
from prefboost.training.policy.trl_bridge import BridgedTrainer, trainer_config, without_hashing
from prefboost.training.policy.watch import observe
from prefboost.training.policy.whole_batch import gradients_of_batch
from prefboost.training.reference.cache import ReferenceCache, cache_folder, sequences_of, with_reference
from prefboost.training.reference.forward import REFERENCE_TOKENS, ReferencePass, hash_of_model, numerics_of
from prefboost.training.saving.checkpoint import mark_complete

__all__ = ["PreferenceTrainer", "configure"]


@dataclass(frozen=True)
class _Seen:
    """What a loss said of a micro-batch, without gradient."""

    output: LossOutput
    pairs: PairLogps
    part: Mapping[str, Any]


class PreferenceTrainer(BridgedTrainer):
    """Trains a policy on units.

    Args:
        policy: with `add_completion_forward`, and with `enable_packing` for the packed engine.
        data: units.
        settings: of the training; ``engine`` must be one that the model supports.
        config: from `configure`.
        options: further arguments of TRL's trainer (callbacks, peft_config), and ``progress``.
    """

    def __init__(self, policy: Policy, data: Data, settings: Train, config: DPOConfig, **options: Any) -> None:
        self.settings = settings
        self.packed = settings.engine == "packed"
        self.tried = False
        self.balance = choose_balance_weight(policy.model, settings.router_balance)
        self.notes: list[str] = []
        self.progress: Progress | None = options.pop("progress", None)
        self.start_hash = hash_of_model(policy.model) if settings.reference == "start" else None
        self.meter = Meter(config.device, cost_of(policy.model, adapters=settings.lora is not None))
        self.budget = TokenBudget(
            budget_of(settings, config.device.type),
            alone=config.world_size == 1,
            kept=Path(config.output_dir) / "token_budget.json",
        )
        with without_hashing():
            super().__init__(
                model=policy.model,
                args=config,
                data_collator=UnitCollator() if self.packed else PaddedCollator(policy.tokenizer.pad_token_id),
                train_dataset=data.train,
                eval_dataset=data.evaluation,
                processing_class=policy.tokenizer,
                **options,
            )
        self.meter.processes = self.accelerator.num_processes
        self.add_callback(OptimizerClock(self.meter))

    def unit_sampler(self) -> Sampler[int]:
        """Permutations of the units, seeded by the settings' seed and the epoch."""
        return UnitSampler(len(self.train_dataset), self.settings.seed, self.current_epoch)

    def measured(self) -> dict[str, float]:
        """What the meter says since the last line of the log, and the seconds that the remaining steps will take."""
        found = self.meter.read()
        left = (self.state.max_steps - self.state.global_step) * found.get("time/step", 0.0)
        return found | {"time/left": round(left, 3)}

    def timed(self, part: str) -> Any:
        """Seconds of a part of the work are kept for the log."""
        return self.meter.timed(part)

    def logps_of(self, model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Log-probs [2V] of a micro-batch, as one stream or as padded sequences; what the balance of a mixture's
        experts adds to each view's loss (None where there are none)."""
        inputs: dict[str, Any]
        if self.packed:
            inputs = {"packed": batch["tokens"].packed().to(self.accelerator.device)}
            if torch.is_grad_enabled():
                self.meter.count(inputs["packed"])
        else:
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "completion_mask")}
            if torch.is_grad_enabled():
                self.meter.count_padded(inputs)
        if not self.balance:
            return model(**inputs), None
        logps, balance = model(**inputs, balance=True)
        self.watched()["router_balance"] += [balance.item()] * len(batch["views"])
        return logps, self.balance * balance

    def loss_of_batch(self, model: Any, batch: dict[str, Any]) -> Tensor:
        """Losses [V] of a batch that is computed at once, or in parts where nothing has to be kept for gradients.

        Raises:
            RunError: a loss is not finite; names the pairs.
        """
        logps, more = self._in_parts(model, batch) if self.packed else self.logps_of(model, batch)
        pairs = as_pair_logps(logps, batch)
        output = self.settings.loss(pairs)
        self._watch(_Seen(output, pairs, batch))
        return output.losses if more is None else output.losses + more

    def step_on_batch(self, model: Any, batch: dict[str, Any], views: Tensor) -> Tensor | None:
        """The gradient of the whole optimiser batch, in micro-batches within the token budget.

        Raises:
            RunError: a loss is not finite, or memory is short whatever the budget.
        """
        if not self.packed:
            return None
        return self.budget.within(
            lambda tokens: self._step(model, batch, views, tokens),
            model.zero_grad,
            f"step {self.state.global_step + 1}",
        )

    def units_with_reference(self, units: Dataset, name: str) -> Dataset:
        """The units with the reference's log-probs, from the cache where they are known."""
        if not self.settings.uses_reference:
            return units
        model, cache = self._reference()
        table = units.data.table.combine_chunks()
        wanted = sequences_of(table)
        device = self.accelerator.device
        reference = ReferencePass(
            model,
            packed=self.packed,
            pad_id=self.processing_class.pad_token_id,
            autocast=self.accelerator.autocast,
            budget=TokenBudget(
                REFERENCE_TOKENS.get(device.type, 4096),
                alone=self.ref_model is None,
                kept=Path(self.args.output_dir) / "reference_budget.json",
            ),
            share=(self.accelerator.process_index, self.accelerator.num_processes),
            progress=self.progress,
            in_step=self.ref_model is not None,
        )
        if self.progress is not None:
            self.progress.begin(f"reference log-probs ({name})", len(wanted.prompts))
        with self.timed("reference"):
            logps = cache.fill(wanted, reference.compute, reference.batches, exchange=self.known_to_all)
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

    def _step(self, model: Any, batch: dict[str, Any], views: Tensor, tokens: int) -> Tensor:
        if self.shards_weights and not self.tried:
            self._try_engine(model)
        parts = split_by_budget(batch["tokens"], tokens)
        count = self.most_of_all(len(parts)) if self.shards_weights else len(parts)
        weights = [1.0] * len(parts) + [0.0] * (count - len(parts))
        parts += parts[-1:] * (count - len(parts))
        scale = self.accelerator.num_processes / views
        seen: list[_Seen] = []
        if self.settings.loss.whole_batch:
            shares = [(part, weight, float(scale)) for part, weight in zip(parts, weights, strict=True)]
            losses = self._losses_by_gradient(model, batch, shares, seen)
        else:
            losses = [
                partial(self._loss_of_part, model, part_of(batch, part), weight * scale, seen)
                for part, weight in zip(parts, weights, strict=True)
            ]
        total = self.accumulate(model, losses)
        for each in seen:
            self._watch(each)
        return sum(each.output.losses.sum() for each in seen) * scale if self.settings.loss.whole_batch else total

    def _try_engine(self, model: Any) -> None:
        """Where devices hold parts of the weights, the engine is tried on them once they do.

        Raises:
            RunError: log-probs are not those of padded sequences.
        """
        device = self.accelerator.device
        dtype = torch.float32 if self.settings.precision == "fp32" else torch.bfloat16
        with self.compute_loss_context_manager():
            off = measure_difference(model, int(self.model.config.get_text_config().vocab_size), device, dtype)
        if not off < 1.0:
            raise RunError(
                f"{type(self.model).__name__} gives other log-probs over a packed stream than over padded sequences "
                f"on {device}, its weights shared by {self.accelerator.num_processes} devices",
                remedy="write train.engine: trl, and give another run folder",
            )
        self.tried = True

    def _loss_of_part(self, model: Any, part: dict[str, Any], scale: Tensor | float, seen: list[_Seen]) -> Tensor:
        logps, more = self.logps_of(model, part)
        pairs = as_pair_logps(logps, part)
        output = self.settings.loss(pairs)
        if float(scale):
            seen.append(_Seen(_detached(output), _detached(pairs), part))
        return (output.losses if more is None else output.losses + more).sum() * scale

    def _losses_by_gradient(
        self, model: Any, batch: dict[str, Any], parts: list[tuple[list[int], float, float]], seen: list[_Seen]
    ) -> list[Any]:
        """For losses that need the whole batch: it is computed from log-probs of a first pass, and each micro-batch
        then only has to hand on the gradient with respect to its own log-probs."""
        with torch.no_grad():
            logps, _ = self._in_parts(model, batch, [rows for rows, _, _ in parts])
        pairs = as_pair_logps(logps, batch)
        output, gradients = gradients_of_batch(self.settings.loss, pairs, self.from_all, self.accelerator.process_index)
        seen.append(_Seen(output, pairs, batch))
        gradients *= self.accelerator.num_processes

        def handed_on(rows: list[int], weight: float, scale: float) -> Tensor:
            found, more = self.logps_of(model, part_of(batch, rows))
            total = (found * gradients[_both(rows, len(batch["views"]), found.device)]).sum()
            return weight * (total if more is None else total + more * len(rows) * scale)

        return [partial(handed_on, *part) for part in parts]

    def _in_parts(
        self, model: Any, batch: Mapping[str, Any], parts: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What `logps_of` says of a batch, micro-batch by micro-batch."""
        views = len(batch["views"])
        if parts is None:
            parts = split_by_budget(batch["tokens"], self.budget.tokens)
            parts += parts[-1:] * (self.most_of_all(len(parts)) - len(parts)) if self.shards_weights else []
        whole: Tensor | None = None
        added: list[Tensor] = []
        for rows in parts:
            found, more = self.logps_of(model, part_of(batch, rows))
            whole = found.new_zeros(2 * views) if whole is None else whole
            whole = whole.index_copy(0, _both(rows, views, found.device), found)
            added += [] if more is None else [more * len(rows)]
        assert whole is not None
        return whole, torch.stack(added).sum() / sum(map(len, parts)) if added else None

    def _watch(self, seen: _Seen) -> None:
        losses = seen.output.losses
        if not bool(losses.isfinite().all()):
            self._refuse(losses, seen.part)
        for name, numbers in observe(seen.output, seen.pairs, seen.part, self.settings.score_buckets).items():
            self.watched()[name].extend(numbers)

    def _refuse(self, losses: Tensor, batch: Mapping[str, Any]) -> None:
        bad = (~losses.isfinite()).tolist()
        ids = [name for name, is_bad in zip(batch["unit_ids"], bad, strict=True) if is_bad]
        raise RunError(
            f"the loss is {losses[~losses.isfinite()][0].item()} at step {self.state.global_step + 1} for the pair(s) "
            f"{', '.join(sorted(set(ids))[:8])}",
            remedy="look at these pairs; lower learning_rate, use precision: fp32, or resume from a checkpoint",
        )

    def _reference(self) -> tuple[Any, ReferenceCache]:
        model, known = self._start(), self.start_hash
        if known is None:
            model = load_model(self.settings, self.settings.reference)
            known = hash_of_model(model)
            model = self._placed(model)
        engine = self.settings.engine if self.ref_model is None else f"{self.settings.engine}-sharded"
        numerics = numerics_of(model, engine, self.settings.precision, self.accelerator.device)
        folder = cache_folder(self.settings.reference_cache, os.environ)
        return model, ReferenceCache(folder, known, numerics)

    def _start(self) -> Any:
        """The policy before training; where devices will hold parts of it (FSDP), TRL has loaded and parted it."""
        if self.ref_model is None:
            return self.model.to(self.accelerator.device)
        if self.packed:
            enable_packing(self.ref_model)
        else:
            add_completion_forward(self.ref_model)
        return self.ref_model

    def _placed(self, model: Any) -> Any:
        """Another model as reference, on the device and ready for the engine.

        Raises:
            RunError: the engine cannot run it.
        """
        model = model.to(self.accelerator.device).eval()
        support = probe_support(model) if self.packed else None
        if support is not None and not support.ok:
            raise RunError(
                f"the reference {self.settings.reference!r} cannot be packed: {support.reason}",
                remedy="write train.engine: trl, or take another reference",
            )
        return model


def _both(rows: Sequence[int], views: int, device: torch.device) -> Tensor:
    """Places of some views' chosen and rejected sequences among 2V."""
    return torch.tensor([*rows, *(views + row for row in rows)], device=device)


def _detached(record: Any) -> Any:
    tensors = {name: value.detach() for name, value in vars(record).items() if isinstance(value, Tensor)}
    return replace(record, **tensors)


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
