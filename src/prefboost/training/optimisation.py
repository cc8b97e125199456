"""Settings that every training shares: the model as it is loaded, numbers, optimiser, evaluation, checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from prefboost.settings import Settings

__all__ = ["Lora", "Optimisation", "count_state_bytes"]

_STATE_BYTES = {"adamw_8bit": 2, "paged_adamw_8bit": 2, "adafactor": 1, "sgd": 0}
"""Bytes of optimiser state per trained weight, by optimiser; others keep two moments of the weight's own type."""


def count_state_bytes(optimizer: str, parameters: Iterable[Any]) -> int:
    """Count the bytes of an optimiser's state.

    Args:
        optimizer: its name in transformers.
        parameters: trained weights, tensors.
    """
    per_weight = _STATE_BYTES.get(optimizer)
    # Unlisted optimisers keep two moments in the type of the weights, as Adam does.
    return sum(each.numel() * (2 * each.element_size() if per_weight is None else per_weight) for each in parameters)


# Named here, so that a setting carried over from another trainer gets a reason, not just "unknown".
_REFUSED = {
    "torch_compile": "streams have another shape at every step, so every step would be compiled anew; leave it out "
    "(FlexAttention compiles its own kernels)",
    "padding_free": "the packed engine feeds no padding anyway; leave it out",
}
"""Settings of other trainers that are not settings here, and why."""


class Lora(Settings):
    """Low-rank adapters instead of full fine-tuning (arXiv 2106.09685)."""

    rank: int = Field(16, ge=1, description="Rank of the update (arXiv 2106.09685, section 4.1).")
    alpha: float = Field(
        32.0, gt=0, description="The update is scaled by alpha / rank (arXiv 2106.09685, section 4.1)."
    )
    targets: str | tuple[str, ...] = Field(
        "all-linear", description="Names of the layers that get adapters, or all-linear (peft's LoraConfig)."
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout before the adapter; 0, since preference losses compare exact log-probs."
    )
    merge: bool = Field(True, description="Save the merged model besides the adapter, so that any engine can load it.")
    quantize: Literal["nf4"] | None = Field(
        None,
        description="nf4: hold the frozen base of a policy in 4 bits (QLoRA, arXiv 2305.14314; extra qlora; needs "
        "merge: false, since the adapter is saved alone); none: in the weights' own type.",
    )

    @model_validator(mode="after")
    def _quantize_without_merging(self) -> Lora:
        # Adding an update to rounded weights rounds it away.
        if self.quantize and self.merge:
            raise ValueError(f"quantize: {self.quantize} has no whole weights to merge with; write merge: false")
        return self


class Optimisation(Settings):
    """Settings of every training, whatever is trained. Where trainings differ, they say so themselves."""

    model: str = Field(description="Hub id, folder, or package:NAME (the GGUF file inside an installed PyPI package).")
    revision: str | None = Field(None, description="Commit, tag or branch of the hub repository.")
    trust_remote_code: bool = Field(False, description="Run code that the model's repository brings; off for safety.")
    chat_template: str | None = Field(
        None, description="Jinja text or a file with the chat template, where the tokenizer's own will not do."
    )
    system_messages: Literal["keep", "merge"] = Field(
        "keep",
        description="System messages that the chat template cannot render: keep: such rows are rejected; merge: the "
        "text goes in front of the first user turn's, a blank line between.",
    )
    max_loss_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="Share of the rows that may be rejected by the chat template, lose their beginning, be cut to a "
        "token, lack an end token or exceed the model's positions, each; above it nothing is trained; 1: no limit.",
    )
    template_day: str | None = Field(
        None,
        pattern=r"^\d{4}-\d\d-\d\d$",
        description="Day that chat templates with a date print, YYYY-MM-DD; none: the day on which the run began.",
    )
    attention: str | None = Field(
        None, description="Attention implementation of transformers (sdpa, eager, ...); none takes its default."
    )
    precision: Literal["auto", "bf16", "fp32", "pure_bf16"] = Field(
        "auto",
        description="auto: bf16 where the device computes it natively, else fp32; bf16: autocast over float32 weights; "
        "pure_bf16: weights too; fp32: no autocast.",
    )
    lora: Lora | None = Field(None, description="Adapters (a new head is trained whole); none trains all weights.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    liger_kernel: bool = Field(
        False,
        description="Fused kernels for norms, rotary embeddings and gated units (liger-kernel, extra liger), on GPUs, "
        "for the architectures that it knows.",
    )
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule after the warm-up (arXiv 2410.08067: cosine)."
    )
    optimizer: str = Field(
        "adamw_torch", description="Optimiser by its name in transformers (arXiv 2410.08067: AdamW)."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (arXiv 1711.05101).")
    max_grad_norm: float = Field(
        1.0, gt=0, description="Gradients are scaled down to this norm (transformers' default)."
    )
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; overrides epochs.")
    token_budget: int | None = Field(
        None,
        ge=1,
        description="Most tokens of a packed micro-batch's stream on a device; changes memory, not values; none: 4,096 "
        "on CPU (1,536 at fp32), 16,384 on CUDA.",
    )
    eval_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of the prompts that is held out for evaluation; a prompt is never split."
    )
    eval_every: int | None = Field(
        None, ge=1, description="Steps between evaluations; none evaluates once, at the end."
    )
    save_type: Literal["auto", "bfloat16", "float16", "float32"] = Field(
        "auto",
        description="Number type of the saved weights; auto: that of the model trained from, or that of the weights in "
        "training where it is narrower.",
    )
    save_every: int = Field(100, ge=1, description="Steps between checkpoints, from which training resumes.")
    save_minutes: float | None = Field(
        5.0,
        ge=0,
        description="Minutes after which a checkpoint is written before save_every is reached, so that a kill costs no "
        "more; writing takes a twentieth of the time at most; none: save_every alone.",
    )
    keep_checkpoints: int = Field(2, ge=2, description="Checkpoints kept on disk while training; two, so one is whole.")
    log_every: int = Field(1, ge=1, description="Steps between two lines of the log.")
    report_to: tuple[str, ...] = Field((), description="Trackers of transformers, e.g. wandb, tensorboard, trackio.")
    seed: int = Field(
        42, ge=0, description="Seed of the order of units, the eval split, adapters and the head of a reward model."
    )

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of prefboost that this training needs besides ``train``."""
        quantized = self.lora is not None and self.lora.quantize is not None
        return ("qlora",) * quantized + ("liger",) * self.liger_kernel

    @model_validator(mode="before")
    @classmethod
    def _none_of_other_trainers(cls, values: Any) -> Any:
        # Switched off they ask for nothing that we do not do, and fall to the usual error.
        for name in _REFUSED if isinstance(values, Mapping) else ():
            if values.get(name):
                raise ValueError(f"{name} is not a setting here: {_REFUSED[name]}")
        return values
