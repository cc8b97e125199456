"""Units to tensors: a batch holds all views of its units, chosen completions first, then rejected ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prefboost.losses import PairLogps
from prefboost.losses.completion_logps import pad_sequences
from prefboost.packing import Packed, pack
from prefboost.training.policy.tokenise import NUMBERS

__all__ = ["PaddedCollator", "UnitCollator", "Views", "as_pair_logps", "name_views", "select_views"]

REFERENCE = ("ref_chosen", "ref_rejected")
"""Columns of the reference's log-probs, present once they are computed."""


@dataclass(frozen=True)
class Views:
    """Token ids of V views. They stay where they are: only the stream made of them goes to a device.

    Args:
        prompts: one per view.
        chosen: one per view.
        rejected: one per view.
        units: number of the unit within the batch, one per view.
    """

    prompts: tuple[Sequence[int], ...]
    chosen: tuple[Sequence[int], ...]
    rejected: tuple[Sequence[int], ...]
    units: tuple[int, ...]

    def pack_pairs(self) -> Packed:
        """Pack 2V sequences into one stream: all chosen completions, then all rejected ones."""
        return pack(self.prompts + self.prompts, self.chosen + self.rejected)

    def take(self, rows: Sequence[int]) -> Views:
        """Select some of the views."""
        columns = (self.prompts, self.chosen, self.rejected)
        prompts, chosen, rejected = (tuple(column[row] for row in rows) for column in columns)
        return Views(prompts, chosen, rejected, tuple(self.units[row] for row in rows))


class UnitCollator:
    """Collates units of V views in all.

    Returns (on call):
        the numbers of the views [V] in float64 (NaN where the data have none); ref_chosen, ref_rejected [V] where
        computed; length_chosen, length_rejected [V]; unit_ids and views, lists of V strings; ``tokens``, the `Views`.
    """

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate one batch."""
        batch: dict[str, Any] = {}
        for name in NUMBERS:
            numbers = [float("nan") if number is None else number for number in _join_views(units, name)]
            # float64, so that scores such as 4.1 are bucketed by the value that the data state.
            batch[name] = torch.tensor(numbers, dtype=torch.float64)
        for name in REFERENCE:
            if name in units[0]:
                batch[name] = torch.tensor(_join_views(units, name), dtype=torch.float32)
        # Token ids stay lists on the CPU: micro-batches are cut from them, and each makes its own stream.
        tokens = Views(
            tuple(_join_views(units, "prompt_ids")),
            tuple(_join_views(units, "chosen_ids")),
            tuple(_join_views(units, "rejected_ids")),
            tuple(number for number, unit in enumerate(units) for _ in unit["view"]),
        )
        batch["length_chosen"] = torch.tensor([len(ids) for ids in tokens.chosen])
        batch["length_rejected"] = torch.tensor([len(ids) for ids in tokens.rejected])
        batch["unit_ids"] = [unit["unit_id"] for unit in units for _ in unit["view"]]
        batch["views"] = _join_views(units, "view")
        batch["tokens"] = tokens
        return batch


class PaddedCollator(UnitCollator):
    """The same with input_ids, attention_mask and completion_mask [2V, L] (rows 0..V-1 chosen, V..2V-1 rejected)."""

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate one batch."""
        batch = super().__call__(units)
        tokens: Views = batch["tokens"]
        padded = pad_sequences(tokens.prompts + tokens.prompts, tokens.chosen + tokens.rejected, self.pad_id)
        return {**batch, **padded}


def select_views(batch: Mapping[str, Any], rows: Sequence[int]) -> dict[str, Any]:
    """Select some views of a batch of `UnitCollator`, as a batch."""
    selected: dict[str, Any] = {}
    for name, column in batch.items():
        if isinstance(column, Views):
            selected[name] = column.take(rows)
        elif isinstance(column, Tensor):
            selected[name] = column[torch.tensor(rows, device=column.device)]
        else:
            selected[name] = [column[row] for row in rows]
    return selected


def name_views(batch: Mapping[str, Any]) -> list[str]:
    """Name the V views of a batch that holds whole units: by their unit, and by their place in it."""
    seen: Counter[str] = Counter()
    names = []
    for unit in batch["unit_ids"]:
        names.append(f"{unit}/{seen[unit]}")
        seen[unit] += 1
    return names


def as_pair_logps(logps: Tensor, batch: Mapping[str, Any]) -> PairLogps:
    """Build what a loss computes on.

    Args:
        logps: [2V], as the model returns them for a collated batch.
        batch: of `UnitCollator`, on the same device.
    """
    # [2V] -> [V] and [V]: chosen completions come first.
    chosen, rejected = logps.chunk(2)
    # Columns without any number are left out, so that a loss can refuse to do without them.
    numbers = {name: batch[name].to(logps) for name in NUMBERS if not bool(batch[name].isnan().all())}
    return PairLogps(
        chosen=chosen,
        rejected=rejected,
        length_chosen=batch["length_chosen"].to(logps),
        length_rejected=batch["length_rejected"].to(logps),
        ref_chosen=batch.get("ref_chosen"),
        ref_rejected=batch.get("ref_rejected"),
        **numbers,
    )


def _join_views(units: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [view for unit in units for view in unit[name]]
