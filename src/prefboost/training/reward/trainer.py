"""The trainer of reward models: all texts of a unit in one stream, the loss on the reward at each text's last token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import TrainingArguments

from prefboost.engines.models.reward_model import RewardModel, rewards_of, text_tensors
from prefboost.losses.reward import RewardBatch
from prefboost.training.data.units import Data
from prefboost.training.engine.micro_batches import split_texts_by_budget
from prefboost.training.engine.unit_trainer import UnitTrainer
from prefboost.training.reward.settings import TrainReward

__all__ = ["RewardCollator", "RewardTrainer", "UnitList"]


PAIR_NUMBERS = ("gap", "wins", "weight", "length_delta")
"""Numbers of every pair in a batch; see `prefboost.losses.reward.RewardBatch`."""


_TEXT_COLUMNS = ("chosen", "rejected", "excess_length", "labels")


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
        """Collate one batch."""
        # T texts in the order of their units; each is computed once, however many pairs it is part of.
        texts = [ids for unit in units for ids in unit["texts"]]
        # A unit numbers its own texts from 0; in the batch they stand behind those of the units before it.
        firsts = [0]
        for unit in units:
            firsts.append(firsts[-1] + len(unit["texts"]))
        numbers = {
            side: [first + at for unit, first in zip(units, firsts, strict=False) for at in unit[side]]
            for side in ("chosen", "rejected")
        }
        labels = [text_labels for unit in units for text_labels in unit["labels"]]
        return {
            **{side: torch.tensor(indices, dtype=torch.long) for side, indices in numbers.items()},
            **{name: _as_floats([number for unit in units for number in unit[name]]) for name in PAIR_NUMBERS},
            "excess_length": _as_floats([number for unit in units for number in unit["excess_length"]]),
            "labels": torch.stack([_as_floats(text_labels) for text_labels in labels]),
            "pair_names": _name_items(units, "chosen"),
            "text_names": _name_items(units, "texts"),
            "items": len(numbers["chosen"]) if self.compares else len(texts),
            "ids": [name for unit in units for name in unit["ids"]],
            **text_tensors(self.model, texts),
        }


@dataclass(frozen=True)
class Units:
    """Units in a class of their own, so that accelerate does not walk through their tokens on the way to a device."""

    rows: list[Mapping[str, Any]]


class UnitList:
    """Collates units to a batch that is computed in parts: ``units`` (a `Units`), ``items`` in them."""

    def __init__(self, *, compares: bool) -> None:
        self.compares = compares

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate one batch."""
        counted = "chosen" if self.compares else "texts"
        return {"units": Units(list(units)), "items": sum(len(unit[counted]) for unit in units)}


class RewardTrainer(UnitTrainer):
    """Trains a reward model on units.

    Args:
        reward_model: the model and how it is run.
        data: units to train on, and to evaluate on.
        settings: of the training.
        config: from `configure_training`.
        options: further arguments of transformers' Trainer (callbacks).
    """

    settings: TrainReward
    task = "SEQ_CLS"

    def __init__(
        self, reward_model: RewardModel, data: Data, settings: TrainReward, config: TrainingArguments, **options: Any
    ) -> None:
        self.reward_model = reward_model
        self.packs = reward_model.packs
        compares = settings.loss.compares
        self.collate = RewardCollator(reward_model, compares=compares)
        collator = UnitList(compares=compares) if self.packs else self.collate
        super().__init__(reward_model, data, settings, config, data_collator=collator, **options)

    def compute_losses(self, model: Any, batch: dict[str, Any]) -> torch.Tensor:
        """Compute the losses of a collated batch: [P] of pairs, or [T] of texts where scores are fitted.

        Raises:
            RunError: a loss is not finite; names rows.
        """
        names = {"texts", "input_ids", "attention_mask"} & batch.keys()
        moved: dict[str, Any] = {name: batch[name].to(self.accelerator.device) for name in names}
        # [T, H]: one reward per text and head, at the text's last token.
        outputs = rewards_of(self.reward_model, moved, model)
        columns = {name: batch[name].to(outputs.device) for name in (*_TEXT_COLUMNS, *PAIR_NUMBERS)}
        rewards = RewardBatch(rewards=outputs, **columns)
        losses = self.settings.loss(rewards)
        if not bool(losses.isfinite().all()):
            self.refuse_losses(losses, f"; the rows are {', '.join(batch['ids'][:8])}", "rows")
        loss, pairs, text_names = self.settings.loss, batch["pair_names"], batch["text_names"]
        with torch.no_grad():
            overall = outputs.double()[:, 0]  # [T], of the first head
            chosen, rejected = overall[rewards.chosen], overall[rewards.rejected]  # [P]
            self.note("loss", pairs if loss.compares else text_names, losses.tolist())
            self.note("rewards/mean", text_names, overall.tolist())
            self.note("rewards/margins", pairs, (chosen - rejected).tolist())
            self.note("rewards/accuracies", pairs, (chosen > rejected).double().tolist())
            for at, head in enumerate(() if loss.compares else loss.heads):
                distance = (outputs[:, at].double() - rewards.labels[:, at]).abs()
                self.note(f"distance/{head}", text_names, distance.tolist())
        return losses

    def count_items(self, batch: Mapping[str, Any]) -> int:
        """Count the pairs of a batch, or its texts where scores are fitted."""
        return int(batch["items"])

    def prediction_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> tuple[Any, None, None]:
        """Compute the loss alone, without gradient: the mean over the items of a batch."""
        if not self.packs:
            return super().prediction_step(model, inputs, *args, **kwargs)
        with torch.no_grad(), self.compute_loss_context_manager():
            # Weighted by items, so that the mean does not depend on how units are cut into parts.
            sums = [
                self.compute_loss(model, batch) * batch["items"] * counts
                for batch, counts in self._collate_parts(inputs["units"].rows, self.budget.tokens)
            ]
            return torch.stack(sums).sum() / inputs["items"], None, None

    def _collate_parts(self, units: list[Mapping[str, Any]], tokens: int) -> list[tuple[dict[str, Any], bool]]:
        """Cut units into micro-batches within a budget of tokens, and say of each whether it counts or is repeated."""
        parts = split_texts_by_budget([unit["texts"] for unit in units], tokens)
        return [
            (self.collate([units[at] for at in part]), number < len(parts))
            for number, part in enumerate(self.equalise_parts(parts))
        ]

    def step_within(self, model: Any, batch: Mapping[str, Any], items: torch.Tensor, tokens: int) -> torch.Tensor:
        """Add up the gradient of an optimiser step, micro-batch by micro-batch.

        Args:
            model: wrapped.
            batch: units of this device.
            items: pairs (or texts) of the step over all devices, a tensor [].
            tokens: most tokens of a micro-batch's stream.

        Returns:
            this device's share of the mean loss [], without gradient.
        """
        lengths = {name: len(numbers) for name, numbers in self.pending_metrics.items()}

        def compute_share(part: dict[str, Any], counts: bool) -> torch.Tensor:
            loss: torch.Tensor = self.compute_loss(model, part, num_items_in_batch=items)
            return loss if counts else loss * 0.0  # a repeated part only keeps devices in step

        losses = [partial(compute_share, *part) for part in self._collate_parts(batch["units"].rows, tokens)]
        try:
            return self.accumulate(model, losses)
        except (RuntimeError, MemoryError):
            # The step is repeated with a smaller budget: forget what the interrupted attempt has noted.
            for name, numbers in self.pending_metrics.items():
                del numbers[lengths.get(name, 0) :]
            raise


def _as_floats(values: Sequence[float | None]) -> torch.Tensor:
    """Convert numbers to float64, null to NaN."""
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float64)


def _name_items(units: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    """Name every pair or text of the units, uniquely over all units."""
    return [f"{unit['unit_id']}/{at}" for unit in units for at in range(len(unit[column]))]
