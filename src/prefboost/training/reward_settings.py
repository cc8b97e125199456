"""The settings of reward-model training. They load without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prefboost.losses.judged import REWARD_LOSSES, BradleyTerry, RewardLoss
from prefboost.settings import Settings, choice
from prefboost.training.train_settings import Lora

__all__ = ["TrainReward"]


class TrainReward(Settings):
    """How a reward model is trained. Defaults follow TRL's RewardTrainer where it states them."""

    model: str = Field(description="What it starts from: hub id, folder, or package:NAME; a new head is put on it.")
    revision: str | None = Field(None, description="Commit, tag or branch of the hub repository.")
    trust_remote_code: bool = Field(False, description="Run code that the model's repository brings; off for safety.")
    chat_template: str | None = Field(
        None, description="Jinja text or a file with the chat template, where the tokenizer's own will not do."
    )
    attention: str | None = Field(
        None, description="Attention implementation of transformers (sdpa, eager, ...); none takes its default."
    )
    loss: Annotated[RewardLoss, choice(REWARD_LOSSES)] = Field(
        default_factory=BradleyTerry, description="What the rewards are held against: preferences or scores."
    )
    unit: Literal["prompt", "pair"] = Field(
        "prompt",
        description="What stays in one micro-batch: all completions of a prompt, each computed once "
        "(arXiv 2203.02155, section 3.5), or a single pair.",
    )
    packing: Literal["auto", "off"] = Field(
        "auto", description="auto: one stream without padding, prompts once, where the model can do that; off: pad."
    )
    precision: Literal["bf16", "fp32", "pure_bf16"] = Field(
        "bf16", description="bf16: autocast over float32 weights; pure_bf16: weights too; fp32: no autocast."
    )
    lora: Lora | None = Field(None, description="Adapters (the new head is trained whole); none trains all weights.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, a third more time."
    )
    learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate (arXiv 2403.13787: 1e-5 and below).")
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="Learning-rate schedule after the warm-up."
    )
    warmup_ratio: float = Field(0.03, ge=0, le=1, description="Share of the steps in which the rate rises.")
    optimizer: str = Field("adamw_torch", description="Optimiser by its name in transformers.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay (arXiv 1711.05101).")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are scaled down to this norm.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data; more than one overfits (arXiv 2203.02155).")
    max_steps: int | None = Field(None, ge=1, description="Optimiser steps; overrides epochs.")
    batch_size: int = Field(
        64, ge=1, description="Pairs an optimiser step over all devices (scored completions with regression)."
    )
    micro_batch: int = Field(2, ge=1, description="Most units that a device holds at once; changes memory, not values.")
    max_length: int | None = Field(
        1024, ge=2, description="Most tokens of a conversation; longer ones are set aside and counted, as in TRL."
    )
    eval_fraction: float = Field(
        0.0, ge=0, lt=1, description="Share of the prompts that is set aside for evaluation; a prompt is never split."
    )
    eval_every: int | None = Field(
        None, ge=1, description="Steps between evaluations; none evaluates once, at the end."
    )
    save_every: int = Field(100, ge=1, description="Steps between checkpoints, from which training resumes.")
    save_minutes: float | None = Field(
        5.0, ge=0, description="Minutes after which a checkpoint is written before save_every is reached; none: never."
    )
    keep_checkpoints: int = Field(2, ge=2, description="Checkpoints kept on disk while training; two, so one is whole.")
    log_every: int = Field(1, ge=1, description="Steps between two lines of the log.")
    report_to: tuple[str, ...] = Field((), description="Trackers of transformers, e.g. wandb, tensorboard, trackio.")
    seed: int = Field(42, ge=0, description="Seed of the new head, the order of units, the eval split and adapters.")
