"""Units to tensors: a micro-batch holds all views of its units, chosen completions first, then rejected ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from prefboost.losses import PairLogps
from prefboost.losses.completion_logps import pad_sequences
from prefboost.training.tokenise import NUMBERS

__all__ = ["UnitCollator", "as_pair_logps"]

REFERENCE = ("ref_chosen", "ref_rejected")
"""Columns of the reference's log-probs, present once they are computed."""


class UnitCollator:
    """Collates units of V views in all.

    Returns (on call):
        input_ids, attention_mask, completion_mask [2V, L] (rows 0..V-1 chosen, V..2V-1 rejected); the numbers of the
        views [V] in float64 (NaN where the data have none); ref_chosen, ref_rejected [V] where computed; unit_ids and
        views, lists of V strings.
    """

    def __init__(self, pad_id: int) -> None:
        self.pad_id = pad_id

    def __call__(self, units: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """One batch."""
        prompts = _all_views(units, "prompt_ids")
        batch: dict[str, Any] = pad_sequences(
            prompts + prompts, _all_views(units, "chosen_ids") + _all_views(units, "rejected_ids"), self.pad_id
        )
        for name in NUMBERS:
            numbers = [float("nan") if number is None else number for number in _all_views(units, name)]
            batch[name] = torch.tensor(numbers, dtype=torch.float64)
        for name in REFERENCE:
            if name in units[0]:
                batch[name] = torch.tensor(_all_views(units, name), dtype=torch.float32)
        batch["unit_ids"] = [unit["unit_id"] for unit in units for _ in unit["view"]]
        batch["views"] = _all_views(units, "view")
        return batch


def as_pair_logps(logps: torch.Tensor, batch: Mapping[str, Any]) -> PairLogps:
    """What a loss is given.

    Args:
        logps: [2V], as the model returns them for a collated batch.
        batch: of `UnitCollator`, on the same device.
    """
    chosen, rejected = logps.chunk(2)
    length_chosen, length_rejected = batch["completion_mask"].sum(1).to(logps.dtype).chunk(2)
    numbers = {name: batch[name].to(logps) for name in NUMBERS if not bool(batch[name].isnan().all())}
    return PairLogps(
        chosen=chosen,
        rejected=rejected,
        length_chosen=length_chosen,
        length_rejected=length_rejected,
        ref_chosen=batch.get("ref_chosen"),
        ref_rejected=batch.get("ref_rejected"),
        **numbers,
    )


def _all_views(units: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [view for unit in units for view in unit[name]]
