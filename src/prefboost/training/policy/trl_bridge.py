"""Engine ``trl``: our losses over padded sequences through TRL's DPOTrainer. The only file that imports TRL.

TRL prepares the model (adapters, dropout, recomputation) and runs the loop. Its own tokenisation, reference pass, loss
and metrics never run: they are the methods that `TrlTrainer` replaces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trl
from datasets import Dataset
from transformers import TrainingArguments
from trl import DPOConfig, DPOTrainer

from prefboost.errors import RunError
from prefboost.training.adapters import adapters_of
from prefboost.training.data.units import Plan
from prefboost.training.engine.configuration import list_options
from prefboost.training.engine.unit_trainer import Start
from prefboost.training.policy.settings import Train
from prefboost.training.policy.trainer import PreferenceTrainer

__all__ = ["REPLACED", "TrlTrainer", "configure_trl"]

REPLACED = ("_prepare_dataset", "_precompute_ref_logps", "_send_telemetry", "create_model_card")
"""Methods of TRL's trainer that have to exist under these names, since they would do what is done here already."""


class TrlTrainer(PreferenceTrainer, DPOTrainer):
    """`PreferenceTrainer` with TRL's DPOTrainer beneath it."""

    def prepare_start(self, start: Start, config: TrainingArguments) -> dict[str, Any]:
        """Hand the model to TRL as it is, with the adapters that TRL is to put on it.

        Raises:
            RunError: this version of TRL would do by other names what is done here.
        """
        missing = [name for name in REPLACED if not hasattr(DPOTrainer, name)]
        if missing:
            raise RunError(
                f"train.engine: trl does not know TRL {trl.__version__}, whose DPOTrainer has no {', '.join(missing)}",
                remedy="pip install 'trl==1.16.0', or write train.engine: padded",
            )
        lora = self.settings.lora
        return {"model": start.model, "peft_config": None if lora is None else adapters_of(self.settings)}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write none: ours comes with the final checkpoint."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        """Send nothing anywhere."""


def configure_trl(settings: Train, plan: Plan, folder: Path, *, evaluates: bool) -> DPOConfig:
    """Build TRL's configuration of a training: TRL neither truncates nor keeps a second model."""
    return DPOConfig(
        precompute_ref_log_probs=True,  # so that no second model is kept; `_precompute_ref_logps` is replaced
        max_length=None,
        **list_options(settings, plan, folder, evaluates=evaluates, kind=DPOConfig),
    )
