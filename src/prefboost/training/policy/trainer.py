"""The trainer of policies: losses on log-probs of completions, with the reference's log-probs from the cache."""

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
from transformers import TrainingArguments, set_seed

from prefboost.errors import RunError
from prefboost.losses import LossOutput, PairLogps
from prefboost.losses.router_balance import choose_balance_weight
from prefboost.packing import measure_difference
from prefboost.progress import Progress
from prefboost.training.data.units import Data, wrap_units
from prefboost.training.engine.callbacks import OptimizerClock
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.micro_batches import split_by_budget
from prefboost.training.engine.throughput import Meter, cost_of
from prefboost.training.engine.unit_trainer import Start, UnitTrainer
from prefboost.training.policy.batches import PaddedCollator, UnitCollator, as_pair_logps, name_views, select_views
from prefboost.training.policy.displacement import DisplacementWatch
from prefboost.training.policy.model import Policy
from prefboost.training.policy.settings import Train
from prefboost.training.policy.watch import compute_view_metrics
from prefboost.training.policy.whole_batch import gradients_of_batch
from prefboost.training.reference.cache import ReferenceCache, find_reference_cache, sequences_of, with_reference
from prefboost.training.reference.forward import REFERENCE_TOKENS, ReferencePass, hash_of_model, numerics_of
from prefboost.training.reference.model import Reference, load_reference, place_start

__all__ = ["PreferenceTrainer"]


@dataclass(frozen=True)
class _Observation:
    """A micro-batch with its log-probs and losses, without gradient, to be logged once the step has succeeded."""

    output: LossOutput
    pairs: PairLogps
    batch: Mapping[str, Any]


class PreferenceTrainer(UnitTrainer):
    """Trains a policy on units.

    Args:
        policy: with `add_completion_forward`, and with `enable_packing` for the packed engine.
        data: units.
        settings: of the training; ``engine`` must be one that the model supports.
        config: from `configure_training`.
        options: further arguments of transformers' Trainer (callbacks), and ``progress``.
    """

    settings: Train

    def __init__(self, policy: Policy, data: Data, settings: Train, config: TrainingArguments, **options: Any) -> None:
        # Engines differ in the forward alone; losses, steps and the log are the same.
        self.packs = settings.engine == "packed"
        self.engine_checked = False
        self.balance = choose_balance_weight(policy.model, settings.router_balance)
        self.notes: list[str] = []
        self.progress: Progress | None = options.pop("progress", None)
        # Taken before adapters are put on: the cache of log-probs belongs to the weights as they were loaded.
        self.start_hash = hash_of_model(policy.model) if settings.reference == "start" else None
        self.meter = Meter(config.device, cost_of(policy.model, adapters=settings.lora is not None))
        collator = UnitCollator() if self.packs else PaddedCollator(policy.tokenizer.pad_token_id)
        super().__init__(policy, data, settings, config, data_collator=collator, **options)
        # Known only once transformers' Trainer has made its accelerator.
        self.meter.processes = self.accelerator.num_processes
        self.add_callback(OptimizerClock(self.meter))
        self.watch = DisplacementWatch.of_training(settings)
        self.add_callback(self.watch)
        if settings.uses_reference:
            # Gone before the first step: where devices hold parts of it, it takes their memory twice.
            reference = (
                load_reference(settings, self.accelerator)
                if self.start_hash is None
                else place_start(self.model, self.start_hash, settings, self.accelerator)
            )
            self.train_dataset = self.add_reference_logps(reference, data.train, "train")
            if data.evaluation is not None:
                self.eval_dataset = self.add_reference_logps(reference, data.evaluation, "eval")

    def prepare_start(self, start: Start, config: TrainingArguments) -> dict[str, Any]:
        """Prepare the model for its first step; return it as arguments of transformers' Trainer."""
        set_seed(self.settings.seed)  # adapters are drawn at random, the same ones in every process and run
        return super().prepare_start(start, config)

    def count_items(self, batch: Mapping[str, Any]) -> int:
        """Count the views of a batch."""
        return len(batch["views"])

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run forward and backward of a batch, and time it.

        Raises:
            RunError: a loss is not finite, or memory is short whatever the budget.
        """
        with self.meter.time_part("forward_backward"):
            return super().training_step(model, inputs, num_items_in_batch)

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Any:
        """Get the batches of an optimiser step, and time it."""
        with self.meter.time_part("data"):
            return super().get_batch_samples(epoch_iterator, num_batches, device)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the averages of the noted metrics; in training also speed, memory and the seconds that remain."""
        if "loss" in logs:
            speed = self.meter.read()
            seconds = (self.state.max_steps - self.state.global_step) * speed.get("time/step", 0.0)
            logs |= speed | {"time/left": round(seconds, 3)}
        super().log(logs, start_time)

    def compute_logps(self, model: Any, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Compute the log-probs of a micro-batch of V views, as one stream or as padded sequences.

        Returns:
            log-probs [2V] in nats, chosen completions first, then rejected ones; the weighted loss [] that keeps a
            mixture's experts evenly used, which is added to each view's loss (None where there are no experts).
        """
        inputs: dict[str, Any]
        if self.packs:
            # The stream is built here, on the CPU, and moved whole: it is all that a micro-batch takes on the device.
            inputs = {"packed": batch["tokens"].pack_pairs().to(self.accelerator.device)}
            # Passes without gradient belong to no step: evaluation, and the first pass of whole-batch losses.
            if torch.is_grad_enabled():
                self.meter.count(inputs["packed"])
        else:
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "completion_mask")}
            if torch.is_grad_enabled():
                self.meter.count_padded(inputs)
        if not self.balance:
            return model(**inputs), None
        logps, balance = model(**inputs, balance=True)
        # Repeated per view, since the log averages over views.
        self.note("router_balance", name_views(batch), [balance.item()] * len(batch["views"]))
        return logps, self.balance * balance

    def compute_losses(self, model: Any, batch: dict[str, Any]) -> Tensor:
        """Compute the losses [V] of a batch at once, or in parts where no activations are needed for gradients.

        Raises:
            RunError: a loss is not finite; names the pairs.
        """
        logps, balance = self._compute_logps_in_parts(model, batch) if self.packs else self.compute_logps(model, batch)
        pairs = as_pair_logps(logps, batch)
        output = self.settings.loss(pairs)
        self._log_observation(_Observation(output, pairs, batch))
        losses = output.losses if balance is None else output.losses + balance
        # Of use in evaluation: transformers' own mean counts units twice with which processes fill up the last round.
        self.note("loss", name_views(batch), losses.tolist())
        return losses

    def add_reference_logps(self, reference: Reference, units: Dataset, name: str) -> Dataset:
        """Add the reference's log-probs to units (ref_chosen, ref_rejected), from the cache as far as it has them.

        Raises:
            RunError: memory is short even for one pair at a time.
        """
        # Gathered parts of weights are added up in another order, and fused kernels compute in another one: both change
        # the last bits.
        engine = "packed" if self.packs else "padded"
        engine += ("-liger" if self.settings.liger_kernel else "") + ("-sharded" if reference.parted else "")
        device = self.accelerator.device
        numerics = numerics_of(reference.model, engine, self.settings.precision, device)
        folder = find_reference_cache(self.settings.reference_cache, os.environ)
        cache = ReferenceCache(folder, reference.weights_hash, numerics)
        # One chunk, so that token ids become views into one buffer.
        table = units.data.table.combine_chunks()
        sequences = sequences_of(table)
        forward = ReferencePass(
            reference.model,
            packed=self.packs,
            pad_id=self.processing_class.pad_token_id,
            autocast=self.accelerator.autocast,
            budget=TokenBudget(
                REFERENCE_TOKENS.get(device.type, 4096),
                # With weights in parts every process takes part in every batch: one cannot halve it by itself.
                alone=not reference.parted,
                kept=Path(self.args.output_dir) / "reference_budget.json",
            ),
            share=(self.accelerator.process_index, self.accelerator.num_processes),
            progress=self.progress,
            name=f"reference log-probs ({name})",
            in_step=reference.parted,
        )

        def merge_over_processes(logps: dict[bytes, float]) -> dict[bytes, float]:
            return {key: value for share in self.gather_objects(logps) for key, value in share.items()}

        with self.meter.time_part("reference"):
            logps = cache.fill(sequences, forward.compute, forward.batches, exchange=merge_over_processes)
        if self.progress is not None:
            self.progress.end()
        return wrap_units(with_reference(table, logps))

    def step_within(self, model: Any, batch: Mapping[str, Any], items: Tensor, tokens: int) -> Tensor:
        """Add up the gradient of an optimiser step, micro-batch by micro-batch.

        The step minimises L = 1/N sum_i l_i over the N views of D devices. Devices average their gradients, so each
        of them adds up (D/N) sum_i l_i over its own V views: 1/D sum_devices (D/N) sum_i l_i = L. How the V views are
        cut into micro-batches changes the order of this sum only.

        Args:
            model: wrapped.
            batch: of this device, V views.
            items: N, a tensor [].
            tokens: most tokens of a micro-batch's stream.

        Returns:
            this device's share of the mean loss [], without gradient.
        """
        if self.shards_weights and not self.engine_checked:
            self._check_engine(model)
        split = split_by_budget(batch["tokens"], tokens)
        parts = self.equalise_parts(split)
        # Repeated parts have weight 0: they only keep devices in step.
        weights = [float(number < len(split)) for number in range(len(parts))]
        scale = self.accelerator.num_processes / items  # D/N
        observations: list[_Observation] = []
        if self.settings.loss.whole_batch:
            shares = [(part, weight, float(scale)) for part, weight in zip(parts, weights, strict=True)]
            losses = self._plan_whole_batch(model, batch, shares, observations)
        else:
            losses = [
                partial(self._sum_losses, model, select_views(batch, part), weight * scale, observations)
                for part, weight in zip(parts, weights, strict=True)
            ]
        total = self.accumulate(model, losses)
        # Only now: an attempt that runs out of memory is repeated, and must not be in the log twice.
        for observation in observations:
            self._log_observation(observation)
        if not self.settings.loss.whole_batch:
            return total
        # Here `total` sums products of log-probs and gradients, which say nothing of the loss itself.
        return sum(observation.output.losses.sum() for observation in observations) * scale

    def _check_engine(self, model: Any) -> None:
        """Compare packed with padded log-probs once the devices hold parts of the weights.

        Raises:
            RunError: they differ.
        """
        device = self.accelerator.device
        # The type of the forward: autocast computes in bfloat16 over float32 weights.
        dtype = torch.float32 if self.settings.precision == "fp32" else torch.bfloat16
        with self.compute_loss_context_manager():
            difference = measure_difference(model, int(self.model.config.get_text_config().vocab_size), device, dtype)
        if not difference < 1.0:  # written so that NaN is refused too
            raise RunError(
                f"{type(self.model).__name__} gives other log-probs over a packed stream than over padded sequences "
                f"on {device}, its weights shared by {self.accelerator.num_processes} devices",
                remedy="write train.engine: padded, and give another run folder",
            )
        self.engine_checked = True

    def _sum_losses(
        self, model: Any, part: dict[str, Any], scale: Tensor | float, observations: list[_Observation]
    ) -> Tensor:
        """Return the scaled sum [] of a micro-batch's losses; one of scale 0 only keeps devices in step."""
        logps, balance = self.compute_logps(model, part)  # [2v], []
        pairs = as_pair_logps(logps, part)  # chosen [v], rejected [v]
        output = self.settings.loss(pairs)  # losses [v]
        if float(scale):
            observations.append(_Observation(_detach_tensors(output), _detach_tensors(pairs), part))
        return (output.losses if balance is None else output.losses + balance).sum() * scale

    def _plan_whole_batch(
        self,
        model: Any,
        batch: Mapping[str, Any],
        parts: list[tuple[list[int], float, float]],
        observations: list[_Observation],
    ) -> list[Any]:
        """Plan the micro-batches of a loss that needs all pairs of a step at once.

        With log-probs p [2V] of a first pass without gradient, g = dL/dp [2V] is computed over the whole batch. By the
        chain rule dL/dw = sum_j g_j dp_j/dw, which is the gradient of sum_j g_j p_j with g held constant; this sum
        can be cut into micro-batches, and each of them needs the activations of its own views only.
        """
        with torch.no_grad():
            logps, _ = self._compute_logps_in_parts(model, batch, [rows for rows, _, _ in parts])  # [2V]
        pairs = as_pair_logps(logps, batch)
        output, gradients = gradients_of_batch(
            self.settings.loss, pairs, self.gather_objects, self.accelerator.process_index
        )
        observations.append(_Observation(output, pairs, batch))
        gradients *= self.accelerator.num_processes  # [2V]; devices average their gradients, here they are to add up

        def pass_gradient(rows: list[int], weight: float, scale: float) -> Tensor:
            part_logps, balance = self.compute_logps(model, select_views(batch, rows))  # [2v]
            total = (part_logps * gradients[_index_pairs(rows, len(batch["views"]), part_logps.device)]).sum()
            return weight * (total if balance is None else total + balance * len(rows) * scale)

        return [partial(pass_gradient, *part) for part in parts]

    def _compute_logps_in_parts(
        self, model: Any, batch: Mapping[str, Any], parts: Sequence[Sequence[int]] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the log-probs [2V] of a batch in micro-batches, and the mean balance loss [] of its views."""
        views = len(batch["views"])
        if parts is None:
            parts = self.equalise_parts(split_by_budget(batch["tokens"], self.budget.tokens))
        logps: Tensor | None = None
        balances: list[Tensor] = []
        for rows in parts:
            part_logps, balance = self.compute_logps(model, select_views(batch, rows))
            # The first part tells type and device, which depend on autocast and on where the model is.
            logps = part_logps.new_zeros(2 * views) if logps is None else logps
            logps = logps.index_copy(0, _index_pairs(rows, views, part_logps.device), part_logps)
            # Weighted by views, since micro-batches hold different numbers of them.
            balances += [] if balance is None else [balance * len(rows)]
        assert logps is not None
        return logps, torch.stack(balances).sum() / sum(map(len, parts)) if balances else None

    def _log_observation(self, observation: _Observation) -> None:
        """Add a micro-batch to the next line of the log.

        Raises:
            RunError: a loss is not finite; names the pairs.
        """
        losses, batch = observation.output.losses, observation.batch
        finite = losses.isfinite().tolist()
        if not all(finite):
            ids = {name for name, is_finite in zip(batch["unit_ids"], finite, strict=True) if not is_finite}
            self.refuse_losses(losses, f" for the pair(s) {', '.join(sorted(ids)[:8])}", "pairs")
        metrics = compute_view_metrics(observation.output, observation.pairs, batch, self.settings.score_buckets)
        names = name_views(batch)
        for metric, numbers in metrics.items():
            self.note(metric, names, numbers)


def _index_pairs(rows: Sequence[int], views: int, device: torch.device) -> Tensor:
    """Index the chosen and rejected sequences [2v] of v rows among the 2V of a batch."""
    return torch.tensor([*rows, *(views + row for row in rows)], device=device)


def _detach_tensors(record: Any) -> Any:
    """Copy a record with its tensors cut from the graph, so that a micro-batch's activations can be freed."""
    tensors = {name: value.detach() for name, value in vars(record).items() if isinstance(value, Tensor)}
    return replace(record, **tensors)
