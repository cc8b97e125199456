"""A model ready for its first step: adapters around it, no dropout, and one process for each device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers

from prefboost.errors import RunError, SettingsError
from prefboost.training.adapters import add_adapters

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from prefboost.training.optimisation import Optimisation

__all__ = ["parts_weights_with_deepspeed", "prepare_model", "refuse_unsupported", "switch_off_dropout"]


def refuse_unsupported(config: TrainingArguments) -> None:
    """Refuse what would train wrongly without an error.

    Raises:
        RunError: transformers would scale losses that are scaled already, or this process sees more than one GPU.
    """
    # Without this switch, losses and gradients are divided by the micro-batches of a step a second time.
    if not hasattr(transformers.Trainer, "loss_is_scaled_for_ga"):
        raise RunError(
            f"transformers {transformers.__version__} has no Trainer.loss_is_scaled_for_ga: it would divide every loss "
            "by the number of micro-batches",
            remedy='pip install --upgrade "prefboost[train]"',
        )
    # transformers would copy the model onto all of them in every step, and our forward with it.
    if config.n_gpu > 1:
        raise RunError(
            f"one process sees {config.n_gpu} GPUs",
            remedy=f"start it with: accelerate launch --num_processes {config.n_gpu} -m prefboost.cli.main ..., or let "
            "it see one of them: CUDA_VISIBLE_DEVICES=0",
        )


def prepare_model(model: Any, settings: Optimisation, config: TrainingArguments, *, task: str) -> Any:
    """Put adapters around a model where the settings ask for them, and switch its dropout off.

    Args:
        model: of transformers, without new adapters; changed in place.
        settings: of the training.
        config: of the same training; gets what adapters under ZeRO-3 need.
        task: peft's name for what the model does.

    Raises:
        SettingsError: peft refuses ``lora.targets``, or they name the output layer of a language model.
    """
    if settings.lora is not None:
        parted = parts_weights_with_deepspeed(config)
        # peft does not take this option for bases in 4 bits, which are not gathered either.
        narrow = parted and not settings.lora.quantize
        # ZeRO-3 gathers parameters into one buffer: float32 adapters would not fit beside bfloat16 weights.
        model = add_adapters(model, settings, task=task, **{"autocast_adapter_dtype": False} if narrow else {})
        # Log-probs are computed from the weight of the output layer: an adapter on it would never be trained.
        if task == "CAUSAL_LM" and hasattr(model.get_output_embeddings(), "lora_A"):
            raise SettingsError(
                "lora.targets: the output layer takes no adapter, since log-probs are computed from its own weight",
                remedy="leave it out of the list, or write all-linear",
            )
        if parted and settings.gradient_checkpointing:
            # DeepSpeed gathers weights in hooks, which recomputation without reentry does not call again.
            for name in ("activation", "gradient"):
                setattr(config, f"{name}_checkpointing_kwargs", {"use_reentrant": True})
    switch_off_dropout(model)
    return model


def parts_weights_with_deepspeed(config: TrainingArguments) -> bool:
    """Return whether DeepSpeed keeps parts of the weights on every device (ZeRO-3)."""
    plugin = config.deepspeed_plugin
    return plugin is not None and plugin.zero_stage == 3


def switch_off_dropout(model: Any) -> None:
    """Switch dropout off, as TRL does: log-probs and rewards are compared, and noise would be compared with them."""
    for name, module in model.named_modules():
        # That of adapters is a setting of its own.
        if isinstance(module, torch.nn.Dropout) and "lora_dropout" not in name:
            module.p = 0.0
