"""The settings of training. They load without torch, so that a recipe can be checked and explained on any machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.losses import DPO, LOSSES, Loss
from prefboost.settings import Settings, choice

__all__ = ["Lora", "Train"]


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


class Train(Settings):
    """How a policy is trained on goal pairs. Defaults are those of arXiv 2410.08067, table 6, where it states them."""

    model: str = Field(description="Hub id, folder, or package:NAME (the GGUF file inside an installed PyPI package).")
    revision: str | None = Field(None, description="Commit, tag or branch of the hub repository.")
    trust_remote_code: bool = Field(False, description="Run code that the model's repository brings; off for safety.")
    chat_template: str | None = Field(
        None, description="Jinja text or a file with the chat template, where the tokenizer's own will not do."
    )
    attention: str | None = Field(
        None, description="Attention implementation of transformers (sdpa, eager, ...); none takes its default."
    )
    loss: Annotated[Loss, choice(LOSSES)] = Field(
        default_factory=DPO, description="The loss on a batch of pairs; DPO as in arXiv 2410.08067."
    )
    reference: str = Field(
        "start", description="What the loss compares with: start (the model before training), none, or a hub id."
    )
    router_balance: float | None = Field(
        None,
        ge=0,
        description="Weight of the loss that keeps the experts of a mixture evenly used, over each micro-batch "
        "(arXiv 2101.03961); none: the model's own router_aux_loss_coef, as in TRL; 0: without.",
    )
    precision: Literal["bf16", "fp32", "pure_bf16"] = Field(
        "bf16", description="bf16: autocast over float32 weights; pure_bf16: weights too; fp32: no autocast."
    )
    lora: Lora | None = Field(None, description="Adapters; none trains all weights, as arXiv 2410.08067 does.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    learning_rate: float = Field(5e-7, gt=0, description="Peak learning rate (arXiv 2410.08067: 5e-7 for most models).")
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule after the warm-up (arXiv 2410.08067: cosine)."
    )
    warmup_ratio: float = Field(
        0.1, ge=0, le=1, description="Share of the steps in which the rate rises (arXiv 2410.08067: 0.1)."
    )
    optimizer: str = Field(
        "adamw_torch", description="Optimiser by its name in transformers (arXiv 2410.08067: AdamW)."
    )
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (arXiv 1711.05101).")
    max_grad_norm: float = Field(
        1.0, gt=0, description="Gradients are scaled down to this norm (transformers' default)."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs (arXiv 2410.08067: 1 to 2).")
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; overrides epochs.")
    batch_size: int = Field(
        128, ge=1, description="Goal pairs an optimiser step over all devices (arXiv 2410.08067: 128)."
    )
    engine: Literal["packed", "trl"] = Field(
        "packed",
        description="packed: no padding, shared beginnings once (models that cannot fall back to trl, and say so); "
        "trl: padded sequences through TRL's own loop, the slow twin.",
    )
    token_budget: int | None = Field(
        None,
        ge=1,
        description="Most tokens of a micro-batch's stream on a device (engine packed); changes memory, not values; "
        "none: 4,096 on CPU, 16,384 on CUDA.",
    )
    micro_batch: int = Field(
        1,
        ge=1,
        description="Most units (all views of one pair) that a device holds at once (engine trl); changes memory, not "
        "values.",
    )
    reference_cache: str | None = Field(
        None,
        description="Folder in which the reference's log-probs are kept for all runs; none: $PREFBOOST_CACHE, or the "
        "user's folder for caches.",
    )
    max_length: int | None = Field(
        1024, ge=2, description="Most tokens of prompt and completion; completions lose their end (arXiv 2410.08067)."
    )
    max_prompt_length: int | None = Field(
        512,
        ge=1,
        description="Most tokens of a prompt; longer ones lose text from the left, not the goal (arXiv 2410.08067).",
    )
    order: Literal["units", "shuffled"] = Field(
        "units",
        description="units: all views of a pair in one micro-batch; shuffled: views apart, for experiments only.",
    )
    eval_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of the prompts that is set aside for evaluation; a prompt is never split."
    )
    eval_every: int | None = Field(
        None, ge=1, description="Steps between evaluations; none evaluates once, at the end."
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
    score_buckets: tuple[float, ...] = Field(
        (5.0,), description="Scores at which completions are told apart when their log-probs are watched."
    )
    seed: int = Field(42, ge=0, description="Seed of the order of units, the eval split and the adapters.")

    @model_validator(mode="after")
    def _lengths_fit(self) -> Train:
        if self.max_length and self.max_prompt_length and self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} leaves no room for a completion in "
                f"max_length {self.max_length}; make it smaller"
            )
        if getattr(self.loss, "needs_reference", False) and self.reference == "none":
            raise ValueError(
                "this loss compares with a reference; write reference: start, or take simpo, orpo, cpo, sft"
            )
        return self

    @property
    def uses_reference(self) -> bool:
        """Whether log-probs under a reference are computed (always, unless ``reference`` is none)."""
        return self.reference != "none"
