"""The reward model as its training begins with it, and the proof that the training can end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoModelForSequenceClassification, set_seed

from prefboost.engines.models.reward_model import RewardModel, enable_packed_rewards, load_reward_model
from prefboost.engines.models.weights import load_tokenizer
from prefboost.training.adapters import adapter_chain, base_config, merge_adapter, tokenizer_home, trial_adapters
from prefboost.training.claim import leads
from prefboost.training.policy.model import shares_weights, template_text, training_device
from prefboost.training.preflight import check_fit, check_weights, range_of_texts
from prefboost.training.reward.settings import TrainReward
from prefboost.training.saving.checkpoint import Saving, save_reward_model
from prefboost.training.saving.rehearsal import Rehearsal, checkpoint_bytes, rehearse

__all__ = ["RewardEnd", "check_start", "load_start"]


@dataclass(frozen=True)
class RewardEnd:
    """What the training of a reward model ends with.

    Args:
        saving: how weights are saved.
        facts: what the checkpoint says of itself, as far as it is known before the first step.
        steps: optimiser steps.
    """

    saving: Saving
    facts: Mapping[str, Any]
    steps: int


def load_start(settings: TrainReward) -> RewardModel:
    """Load the model with its new head, which the seed decides.

    Raises:
        ModelError: it, an adapter on it or its chat template cannot be loaded, or its weights are not finite.
    """
    base_config(settings, generates=False)
    set_seed(settings.seed)
    template = settings.chat_template
    base, adapters = adapter_chain(settings.model, settings.revision)
    found = load_reward_model(
        base,
        "bfloat16" if settings.precision == "pure_bf16" else "float32",
        heads=settings.loss.heads,
        chat_template=None if template is None else template_text(template),
        revision=None if adapters else settings.revision,
        trust_remote_code=settings.trust_remote_code,
        attn_implementation=settings.attention,
    )
    for adapter in adapters:
        found = _with_adapter(found, settings, adapter)
    if leads(os.environ):  # others may get the weights from this process, later
        check_weights(found.model, settings.model)
    if not shares_weights(os.environ):  # else the whole model may not fit
        found.model.to(training_device(os.environ))
    return replace(found, unpacked="packing is off") if settings.packing == "off" else enable_packed_rewards(found)


def _with_adapter(found: RewardModel, settings: TrainReward, adapter: str) -> RewardModel:
    """The model with an adapter merged into its weights, and the tokenizer that lies beside the adapter, if any."""
    model = merge_adapter(found.model, adapter, settings.revision if adapter == settings.model else None)
    tokenizer = found.tokenizer
    if tokenizer_home("", [adapter]):
        revision = settings.revision if adapter == settings.model else None
        tokenizer = load_tokenizer(
            adapter, revision=revision, trust_remote_code=settings.trust_remote_code, config=model.config
        )
        tokenizer.padding_side = "right"
        if settings.chat_template is not None:
            tokenizer.chat_template = found.tokenizer.chat_template
    return replace(found, model=model.eval(), tokenizer=tokenizer)


def check_start(
    found: RewardModel, data: tuple[Dataset, Dataset | None], settings: TrainReward, end: RewardEnd, out: Path
) -> list[str]:
    """Prove before the first step that the data fit the model, and that saving into the run folder will work.

    Args:
        found: the model to train.
        data: units to train and evaluate on.
        settings: of the training.
        end: how the training will end.
        out: run folder.

    Returns:
        what could not be proved, in sentences.

    Raises:
        ModelError, DataError, RunError: they do not, or it will not.
    """
    for units in data:
        if units is not None:
            check_fit(found.model, found.tokenizer, range_of_texts(units.data.table))
    if not leads(os.environ):
        return []
    facts = {**end.facts, "score_range": {}}

    def save(folder: Path) -> None:
        if end.saving.merge:
            save_reward_model(found.model, found.tokenizer, facts, folder, end.saving)
            return
        with trial_adapters(found.model, settings, task="SEQ_CLS") as adapted:
            save_reward_model(adapted, found.tokenizer, facts, folder, end.saving)

    return rehearse(
        save,
        out,
        Rehearsal(
            found.tokenizer,
            AutoModelForSequenceClassification,
            checkpoint_bytes=checkpoint_bytes(found.model, settings, end.steps),
            trust_remote_code=settings.trust_remote_code,
        ),
    )
