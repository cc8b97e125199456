"""The trainer of reward models: all texts of a unit in one stream, the loss on the reward at each text's last token."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import Trainer, TrainingArguments

from prefboost.engines.models.reward_model import RewardModel, rewards_of, text_tensors
from prefboost.errors import RunError
from prefboost.losses.reward import RewardBatch
from prefboost.training.data.units import Plan, UnitSampler
from prefboost.training.engine.accumulation import accumulate, most_of_all, shares_weights_by
from prefboost.training.engine.memory import TokenBudget
from prefboost.training.engine.micro_batches import split_texts_by_budget
from prefboost.training.engine.numbers import budget_of
from prefboost.training.reward.settings import TrainReward
from prefboost.training.saving.checkpoint import mark_complete

__all__ = ["RewardCollator", "RewardTrainer", "UnitList", "configure"]


PAIR_NUMBERS = ("gap", "wins", "weight", "length_delta")
"""What a batch says of every pair; see `prefboost.losses.reward.RewardBatch`."""


_SAID = ("chosen", "rejected", "excess_length", "labels")


class RewardCollator:
    """Collates units; the texts of all of them make one stream (or are padded).

    Args:
        model: how it is run.
        compares: whether the items of a batch are pairs; otherwise texts.

    Returns (on call):
        ``chosen``, ``rejected``, `PAIR_NUMBERS` [P], ``excess_length`` [T], ``labels`` [T, H] (float64, NaN where
        unknown), ``items``, ``ids`` (of rows), ``pair_names`` and ``text_names``, and what `text_tensors` makes of the
        T texts.
    """

    def __init__(self, model: RewardModel, *, compares: bool) -> None:
        self.model = model
        self.compares = compares

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One batch."""
        texts = [ids for unit in units for ids in unit["texts"]]
        firsts = [0]
        for unit in units:
            firsts.append(firsts[-1] + len(unit["texts"]))
        numbers = {
            side: [first + at for unit, first in zip(units, firsts, strict=False) for at in unit[side]]
            for side in ("chosen", "rejected")
        }
        labels = [own for unit in units for own in unit["labels"]]
        return {
            **{side: torch.tensor(found, dtype=torch.long) for side, found in numbers.items()},
            **{name: _numbers([number for unit in units for number in unit[name]]) for name in PAIR_NUMBERS},
            "excess_length": _numbers([number for unit in units for number in unit["excess_length"]]),
            "labels": torch.stack([_numbers(own) for own in labels]),
            "pair_names": _names(units, "chosen"),
            "text_names": _names(units, "texts"),
            "items": len(numbers["chosen"]) if self.compares else len(texts),
            "ids": [name for unit in units for name in unit["ids"]],
            **text_tensors(self.model, texts),
        }


@dataclass(frozen=True)
class Units:
    """Units as they are; closed, so that nobody walks through their tokens on the way to a device."""

    rows: list[Mapping[str, Any]]


class UnitList:
    """Collates units to a batch that is computed in parts: ``units`` (a `Units`), ``items`` in them."""

    def __init__(self, *, compares: bool) -> None:
        self.compares = compares

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One batch."""
        counted = "chosen" if self.compares else "texts"
        return {"units": Units(list(units)), "items": sum(len(unit[counted]) for unit in units)}


class RewardTrainer(Trainer):
    """Trains a reward model on units.

    Args:
        found: the model and how it is run.
        trained: the model as it is trained: the same, or with adapters around it.
        data: units to train on, and to evaluate on (may be None).
        settings: of the training.
        options: further arguments of transformers' Trainer (args, callbacks).
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        found: RewardModel,
        trained: Any,
        data: tuple[Dataset, Dataset | None],
        settings: TrainReward,
        **options: Any,
    ) -> None:
        self.found = found
        self.settings = settings
        self._watched: dict[str, dict[str, list[tuple[str, float]]]] = {
            "train": defaultdict(list),
            "eval": defaultdict(list),
        }
        self.collate = RewardCollator(found, compares=settings.loss.compares)
        config: TrainingArguments = options["args"]
        self.budget = TokenBudget(
            budget_of(settings, config.device.type),
            alone=config.world_size == 1,
            kept=Path(config.output_dir) / "token_budget.json",
        )
        super().__init__(
            model=trained,
            data_collator=UnitList(compares=settings.loss.compares) if found.packs else self.collate,
            train_dataset=data[0],
            eval_dataset=data[1],
            processing_class=found.tokenizer,
            **options,
        )

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Sum of the losses over the optimiser step's items divided by their number; in evaluation the mean.

        Raises:
            RunError: a loss is not finite; names rows.
        """
        if return_outputs:
            raise NotImplementedError("rewards are not collected; set prediction_loss_only=True")
        judged = self._judged(model, inputs)
        losses = self.settings.loss(judged)
        if not bool(losses.isfinite().all()):
            raise RunError(
                f"the loss is {losses[~losses.isfinite()][0].item()} at step {self.state.global_step + 1}; the rows "
                f"are {', '.join(inputs['ids'][:8])}",
                remedy="look at these rows; lower learning_rate, use precision: fp32, or resume from a checkpoint",
            )
        self._watch(judged, losses, inputs)
        if num_items_in_batch is None:
            return losses.mean()
        return losses.sum() * self.accelerator.num_processes / num_items_in_batch

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward of a batch; packed, in micro-batches within the token budget.

        Raises:
            RunError: a loss is not finite, or memory is short whatever the budget.
        """
        if not self.found.packs:
            whole: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
            return whole
        model.train()
        step = f"step {self.state.global_step + 1}"
        return self.budget.within(
            lambda tokens: self._in_parts(model, inputs["units"].rows, tokens, num_items_in_batch),
            model.zero_grad,
            step,
        )

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple[Any, None, None]:
        """The loss alone."""
        with torch.no_grad(), self.compute_loss_context_manager():
            if not self.found.packs:
                return self.compute_loss(model, self._prepare_inputs(inputs)), None, None
            found = [
                self.compute_loss(model, batch) * batch["items"]
                for batch in self._parts(inputs["units"].rows, self.budget.tokens)
            ]
            return torch.stack(found).sum() / inputs["items"], None, None

    def _parts(self, units: list[Mapping[str, Any]], tokens: int) -> list[dict[str, Any]]:
        parts = split_texts_by_budget([unit["texts"] for unit in units], tokens)
        if shares_weights_by(self.accelerator):
            parts += parts[-1:] * (most_of_all(self.accelerator, len(parts)) - len(parts))
        return [self.collate([units[at] for at in part]) for part in parts]

    def _in_parts(self, model: Any, units: list[Mapping[str, Any]], tokens: int, items: Any) -> torch.Tensor:
        before = {name: len(numbers) for name, numbers in self._watched["train"].items()}
        own = len(split_texts_by_budget([unit["texts"] for unit in units], tokens))
        losses = [
            partial(self._share, model, batch, items, number < own)
            for number, batch in enumerate(self._parts(units, tokens))
        ]
        try:
            return accumulate(self.accelerator, model, losses, self.compute_loss_context_manager)
        except (RuntimeError, MemoryError):
            for name, numbers in self._watched["train"].items():
                del numbers[before.get(name, 0) :]  # what an interrupted attempt has watched
            raise

    def _share(self, model: Any, batch: dict[str, Any], items: Any, counts: bool) -> torch.Tensor:
        """What a part adds to the loss of the step; nothing where it only keeps devices in step."""
        loss = self.compute_loss(model, batch, num_items_in_batch=items)
        return loss if counts else loss * 0.0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, with the averages over all processes of what was watched.

        Processes fill up the last round of an evaluation with units of the first; these count once.
        """
        mode = "train" if self.model.training else "eval"
        mine, shares = self._watched[mode], [dict(self._watched[mode])]
        if self.accelerator.num_processes > 1:
            from accelerate.utils import gather_object

            shares = gather_object(shares)
        for name in {name for share in shares for name in share}:
            named = [pair for share in shares for pair in share.get(name, [])]
            numbers = list(dict(named).values()) if mode == "eval" else [number for _, number in named]
            if mode == "eval" or name != "loss":  # in training the loss is transformers' own
                logs[f"eval_{name}" if mode == "eval" else name] = sum(numbers) / len(numbers)
        mine.clear()
        super().log(logs, start_time)

    def _judged(self, model: Any, inputs: Mapping[str, Any]) -> RewardBatch:
        texts = {name: inputs[name] for name in ("texts", "input_ids", "attention_mask") if name in inputs}
        moved = {name: tensor.to(self.accelerator.device) for name, tensor in texts.items()}
        rewards = rewards_of(self.found, moved, model)
        named = {name: inputs[name].to(rewards.device) for name in (*_SAID, *PAIR_NUMBERS)}
        return RewardBatch(rewards=rewards, **named)

    def _watch(self, judged: RewardBatch, losses: torch.Tensor, inputs: Mapping[str, Any]) -> None:
        loss, pairs, texts = self.settings.loss, inputs["pair_names"], inputs["text_names"]
        with torch.no_grad():
            overall = judged.rewards.double()[:, 0]
            chosen, rejected = overall[judged.chosen], overall[judged.rejected]
            self._note("loss", pairs if loss.compares else texts, losses)
            self._note("rewards/mean", texts, overall)
            self._note("rewards/margins", pairs, chosen - rejected)
            self._note("rewards/accuracies", pairs, (chosen > rejected).double())
            for at, head in enumerate(() if loss.compares else loss.heads):
                distance = (judged.rewards[:, at].double() - judged.labels[:, at]).abs()
                self._note(f"distance/{head}", texts, distance)

    def _note(self, metric: str, names: Sequence[str], numbers: torch.Tensor) -> None:
        """Numbers to be averaged in the next line of the log, each under its name; NaN is no number."""
        known = [(name, number) for name, number in zip(names, numbers.tolist(), strict=True) if not math.isnan(number)]
        if known:
            self._watched["train" if self.model.training else "eval"][metric] += known

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        def epoch() -> int:
            return int(round(self.state.epoch or 0.0, 6))

        return UnitSampler(len(self.train_dataset), self.settings.seed, epoch)

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
        items = torch.tensor(sum(batch["items"] for batch in batch_samples), device=device)
        total: torch.Tensor = self.accelerator.gather(items).sum()
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Runs that are over before the first checkpoint write none; a mark says that one is whole."""
        if self.state.global_step >= self.state.max_steps <= self.args.save_steps:
            return
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            mark_complete(Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")


def configure(settings: TrainReward, plan: Plan, folder: Path, *, evaluates: bool) -> TrainingArguments:
    """Transformers' configuration for our settings."""
    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    recompute = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    steps = settings.max_steps or plan.steps
    return TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        per_device_train_batch_size=plan.micro_batch,
        per_device_eval_batch_size=plan.micro_batch,
        gradient_accumulation_steps=plan.accumulation,
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=int(settings.warmup_ratio * steps),
        optim=settings.optimizer,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=settings.precision == "bf16",
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
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        prediction_loss_only=True,
        disable_tqdm=True,
        **{recompute: settings.gradient_checkpointing},
    )


def _numbers(values: Sequence[float | None]) -> torch.Tensor:
    """Float64, NaN for null."""
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)


def _names(units: Sequence[Mapping[str, Any]], what: str) -> list[str]:
    """A name for every pair or text of the units."""
    return [f"{unit['unit_id']}/{at}" for unit in units for at in range(len(unit[what]))]
