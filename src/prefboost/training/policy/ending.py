"""The end of a training of a policy, settled and proved before its first step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from prefboost.training.adapters import trial_adapters
from prefboost.training.claim import leads
from prefboost.training.data.units import Data, Plan
from prefboost.training.policy.model import Policy
from prefboost.training.policy.settings import Train
from prefboost.training.preflight import check_fit, range_of_units
from prefboost.training.saving.checkpoint import Provenance, Saving, save_policy
from prefboost.training.saving.rehearsal import SavingTrial, checkpoint_bytes, rehearse

__all__ = ["End"]


@dataclass(frozen=True)
class End:
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

    def _save_untrained(self, folder: Path) -> None:
        """Write the model folder as it would be written now, with adapters of zeros where they are saved alone."""
        if self.merges:
            return self.save(self.policy.model, None, folder=folder)
        with trial_adapters(self.policy.model, self.settings, task="CAUSAL_LM") as adapted:
            return self.save(adapted, None, folder=folder)

    def check(self, data: Data, plan: Plan, out: Path) -> list[str]:
        """Prove that the data fit the model, and that saving into the run folder will work.

        Args:
            data: units to train and evaluate on.
            plan: how steps are laid out.
            out: run folder.

        Returns:
            what could not be proved, in sentences.

        Raises:
            ModelError, DataError, RunError: they do not, or it will not.
        """
        policy, settings = self.policy, self.settings
        # Evaluation rows too: they would crash in the middle of the run.
        for units in (data.train, data.evaluation):
            if units is not None:
                check_fit(policy.model, policy.tokenizer, range_of_units(units.data.table))
        # One process writes; the others would write the same files at the same time.
        if not leads(os.environ):
            return []
        return rehearse(
            self._save_untrained,
            out,
            SavingTrial(
                policy.tokenizer,
                AutoModelForCausalLM,
                checkpoint_bytes=checkpoint_bytes(policy.model, settings, settings.max_steps or plan.steps),
                provenance=self.provenance,
                trust_remote_code=settings.trust_remote_code,
            ),
        )
