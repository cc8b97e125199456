"""The reward model as its training begins with it, and the proof that the training can end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, set_seed

from prefboost.engines.models.reward_model import RewardModel, enable_packed_rewards, load_reward_model
from prefboost.engines.models.weights import load_tokenizer
from prefboost.training.adapters import adapter_chain, base_config, merge_adapter, tokenizer_home
from prefboost.training.claim import is_main_process
from prefboost.training.data.units import Data
from prefboost.training.engine.liger import put_liger_kernels
from prefboost.training.policy.model import choose_training_device, shares_weights, template_text
from prefboost.training.preflight import check_weights, range_of_texts
from prefboost.training.reward.settings import TrainReward
from prefboost.training.saving.checkpoint import Saving, save_reward_model
from prefboost.training.saving.rehearsal import SavingTrial, checkpoint_bytes, prove_end

__all__ = ["RewardModelSaver", "check_start", "load_start"]


@dataclass(frozen=True)
class RewardModelSaver:
    """Everything that saving a reward model needs.

    Args:
        saving: how weights are saved.
        facts: what the checkpoint says of itself, as far as it is known before the first step.
        steps: optimiser steps.
    """

    saving: Saving
    facts: Mapping[str, Any]
    steps: int

    def save(self, model: Any, weights: Mapping[str, Any] | None, *, tokenizer: Any, folder: Path) -> None:
        """Write the model folder (`save_reward_model`).

        Args:
            model: unwrapped.
            weights: all of them, where the model has but a part on this device. Parts cannot be merged, so the adapter
                is then saved alone.
            tokenizer: of the model.
            folder: of the model.
        """
        how = replace(self.saving, merge=self.saving.merge and weights is None, weights=weights)
        save_reward_model(model, tokenizer, self.facts, folder, how)


def load_start(settings: TrainReward) -> RewardModel:
    """Load the model with its new head, which the seed decides.

    Raises:
        ModelError: it, an adapter on it or its chat template cannot be loaded, or its weights are not finite.
    """
    base_config(settings, generates=False)
    # The new head is drawn at random; the same seed gives the same first reward.
    set_seed(settings.seed)
    template = settings.chat_template
    base, adapters = adapter_chain(settings.model, settings.revision)
    reward_model = load_reward_model(
        base,
        "bfloat16" if settings.precision == "pure_bf16" else "float32",
        heads=settings.loss.heads,
        chat_template=None if template is None else template_text(template),
        revision=None if adapters else settings.revision,
        trust_remote_code=settings.trust_remote_code,
        attn_implementation=settings.attention,
    )
    put_liger_kernels(reward_model.model, settings, choose_training_device(os.environ).type)
    for adapter in adapters:
        revision = settings.revision if adapter == settings.model else None
        model, tokenizer = merge_adapter(reward_model.model, adapter, revision), reward_model.tokenizer
        # The tokenizer that lies beside an adapter, if any, has the tokens that it was trained on.
        if tokenizer_home("", [adapter]):
            tokenizer = load_tokenizer(
                adapter, revision=revision, trust_remote_code=settings.trust_remote_code, config=model.config
            )
            # Rewards are read at each text's last real token; padding goes behind it.
            tokenizer.padding_side = "right"
            if template is not None:
                tokenizer.chat_template = reward_model.tokenizer.chat_template
        reward_model = replace(reward_model, model=model.eval(), tokenizer=tokenizer)
    if is_main_process(os.environ):  # others may get the weights from this process, later
        check_weights(reward_model.model, settings.model)
    if not shares_weights(os.environ):  # else the whole model may not fit
        reward_model.model.to(choose_training_device(os.environ))
    return (
        replace(reward_model, unpacked="packing is off")
        if settings.packing == "off"
        else enable_packed_rewards(reward_model)
    )


def check_start(
    reward_model: RewardModel, data: Data, settings: TrainReward, end: RewardModelSaver, out: Path
) -> list[str]:
    """Prove before the first step that the data fit the model, and that saving will work (`prove_end`).

    Args:
        reward_model: the model to train.
        data: units to train and evaluate on.
        settings: of the training.
        end: everything that saving needs.
        out: run folder.
    """
    return prove_end(
        reward_model.model,
        settings,
        [range_of_texts(units.data.table) for units in (data.train, data.evaluation) if units is not None],
        lambda model, folder: end.save(model, None, tokenizer=reward_model.tokenizer, folder=folder),
        out,
        SavingTrial(
            reward_model.tokenizer,
            AutoModelForSequenceClassification,
            task="SEQ_CLS",
            checkpoint_bytes=checkpoint_bytes(reward_model.model, settings, end.steps),
            trust_remote_code=settings.trust_remote_code,
        ),
    )
