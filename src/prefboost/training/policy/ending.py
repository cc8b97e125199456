"""The end of a training of a policy, settled and proved before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prefboost.training.data.units import Data, Plan
from prefboost.training.policy.model import Policy
from prefboost.training.policy.settings import Train
from prefboost.training.preflight import range_of_units
from prefboost.training.saving.checkpoint import Provenance, Saving, save_policy
from prefboost.training.saving.rehearsal import SavingTrial, checkpoint_bytes, prove_end

__all__ = ["PolicySaver"]


@dataclass(frozen=True)
class PolicySaver:
    """Everything that saving a policy needs.

    Args:
        policy: as loaded.
        settings: of the training.
        provenance: of the model to come.
        saved_type: number type of its weights on disk.
    """

    policy: Policy
    settings: Train
    provenance: Provenance
    saved_type: torch.dtype

    @property
    def merges(self) -> bool:
        """Whether whole weights are saved, not an adapter alone."""
        return self.settings.lora is None or self.settings.lora.merge

    def save(self, model: Any, weights: Mapping[str, Any] | None, *, folder: Path) -> None:
        """Write the model folder (`save_policy`).

        Args:
            model: unwrapped.
            weights: all of them, where the model has but a part on this device. Parts cannot be merged, so the adapter
                is then saved alone.
            folder: of the model.
        """
        how = Saving(merge=self.merges and weights is None, weights=weights, saved_type=self.saved_type)
        save_policy(model, self.policy.tokenizer, self.provenance, folder, how)

    def check(self, data: Data, plan: Plan, out: Path) -> list[str]:
        """Prove that the data fit the model, and that saving into the run folder will work (`prove_end`).

        Args:
            data: units to train and evaluate on.
            plan: how steps are laid out.
            out: run folder.
        """
        policy, settings = self.policy, self.settings
        return prove_end(
            policy.model,
            settings,
            [range_of_units(units.data.table) for units in (data.train, data.evaluation) if units is not None],
            lambda model, folder: self.save(model, None, folder=folder),
            out,
            SavingTrial(
                policy.tokenizer,
                AutoModelForCausalLM,
                checkpoint_bytes=checkpoint_bytes(policy.model, settings, settings.max_steps or plan.steps),
                provenance=self.provenance,
                trust_remote_code=settings.trust_remote_code,
            ),
        )
