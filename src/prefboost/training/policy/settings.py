"""The settings of training. They load without torch, so that a recipe can be checked and explained on any machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.losses import DPO, LOSSES, Loss
from prefboost.settings import choice
from prefboost.training.optimisation import Lora, Optimisation

__all__ = ["Lora", "Train"]


class Train(Optimisation):
    """Settings to train a policy on goal pairs. Defaults are those of arXiv 2410.08067, table 6, where it has them."""

    loss: Annotated[Loss, choice(LOSSES)] = Field(
        default_factory=DPO, description="The loss on a batch of pairs; DPO as in arXiv 2410.08067."
    )
    reference: str = Field(
        "start", description="Reference model of the loss: start (the model before training), none, or a hub id."
    )
    router_balance: float | None = Field(
        None,
        ge=0,
        description="Weight of the loss that keeps the experts of a mixture evenly used, over each micro-batch "
        "(arXiv 2101.03961); none: the model's own router_aux_loss_coef, as in TRL; 0: without.",
    )
    learning_rate: float = Field(5e-7, gt=0, description="Peak learning rate (arXiv 2410.08067: 5e-7 for most models).")
    warmup_ratio: float = Field(
        0.1, ge=0, le=1, description="Share of the steps in which the rate rises (arXiv 2410.08067: 0.1)."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the pairs (arXiv 2410.08067: 1 to 2).")
    batch_size: int = Field(
        128, ge=1, description="Goal pairs an optimiser step over all devices (arXiv 2410.08067: 128)."
    )
    engine: Literal["packed", "padded", "trl"] = Field(
        "packed",
        description="packed: no padding, shared beginnings once (models that cannot are padded, and say so); padded: "
        "padded sequences; trl: the same through TRL's own trainer, the slow twin (extra trl).",
    )
    micro_batch: int = Field(
        1,
        ge=1,
        description="Most units (all views of one pair) that a device holds at once (padded and trl); changes memory, "
        "not values.",
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
    cut_completions: Literal["open", "ended"] = Field(
        "open",
        description="Completions that generation cut at its limit (finish_chosen or finish_rejected is length): open: "
        "without an end of turn, so that nobody learns to stop there; ended: with one, as published recipes have it.",
    )
    order: Literal["units", "shuffled"] = Field(
        "units",
        description="units: all views of a pair in one micro-batch; shuffled: views apart, for experiments only.",
    )
    score_buckets: tuple[float, ...] = Field(
        (5.0,), description="Scores at which completions are told apart when their log-probs are watched."
    )
    warn_displacement: float = Field(
        0.1,
        ge=0,
        description="Nats per token by which chosen completions become less likely, while the margin grows, before a "
        "warning of likelihood displacement (0.1: each token a tenth less likely); 0: no such warning.",
    )
    warn_displacement_sum: float = Field(
        3.0,
        ge=0,
        description="Nats per completion that they must lose as well (3: 20 times less likely), so that very short "
        "completions do not warn; 0: the change per token decides alone.",
    )
    warn_divergence: float = Field(
        1.0,
        ge=0,
        description="Mean absolute change of log-prob in nats per token, over chosen and rejected completions, before "
        "a warning of divergence (1: each token's probability changed by a factor of e); 0: no such warning.",
    )
    warn_ignored_goals: float = Field(
        10.0,
        ge=0,
        description="Nats by which the preference within a pair moves the same way under both goals, four times as far "
        "as with the goal, before a warning that goals are ignored; 0: no such warning.",
    )

    @model_validator(mode="after")
    def _lengths_fit(self) -> Train:
        # Completions get what the prompt leaves of max_length; without room every row would be dropped.
        if self.max_length and self.max_prompt_length and self.max_prompt_length >= self.max_length:
            raise ValueError(
                f"max_prompt_length {self.max_prompt_length} leaves no room for a completion in "
                f"max_length {self.max_length}; make it smaller"
            )
        # Losses of plug-ins need not declare it.
        if getattr(self.loss, "needs_reference", False) and self.reference == "none":
            raise ValueError(
                "this loss compares with a reference; write reference: start, or take simpo, orpo, cpo, sft"
            )
        # Each of the two passes of such a loss would draw its own mask, and their gradient would fit neither.
        if self.lora is not None and self.lora.dropout and getattr(self.loss, "whole_batch", False):
            raise ValueError("lora.dropout draws another mask in each of the two passes of this loss; write 0")
        return self

    @property
    def extras(self) -> tuple[str, ...]:
        """The extras of prefboost that this training needs besides ``train``."""
        return super().extras + ("trl",) * (self.engine == "trl")

    @property
    def uses_reference(self) -> bool:
        """Whether log-probs under a reference are computed (always, unless ``reference`` is none)."""
        return self.reference != "none"
