"""The settings of reward-model training. They load without torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefboost.losses.reward import REWARD_LOSSES, BradleyTerry, RewardLoss
from prefboost.settings import choice
from prefboost.training.optimisation import Optimisation

__all__ = ["TrainReward"]


class TrainReward(Optimisation):
    """Settings to train a reward model. Defaults follow TRL's RewardTrainer where it states them."""

    loss: Annotated[RewardLoss, choice(REWARD_LOSSES)] = Field(
        default_factory=BradleyTerry, description="Target of the rewards: preferences or scores."
    )
    unit: Literal["prompt", "pair"] = Field(
        "prompt",
        description="Content of one micro-batch: all completions of a prompt, each computed once "
        "(arXiv 2203.02155, section 3.5), or a single pair.",
    )
    packing: Literal["auto", "off"] = Field(
        "auto", description="auto: one stream without padding, prompts once, where the model can do that; off: pad."
    )
    learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate (arXiv 2403.13787: 1e-5 and below).")
    warmup_ratio: float = Field(0.03, ge=0, le=1, description="Share of the steps in which the rate rises.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data; more than one overfits (arXiv 2203.02155).")
    batch_size: int = Field(
        64, ge=1, description="Pairs an optimiser step over all devices (scored completions with regression)."
    )
    micro_batch: int = Field(
        2,
        ge=1,
        description="Most units that a device holds at once where texts are padded; changes memory, not values.",
    )
    max_length: int | None = Field(
        1024, ge=2, description="Most tokens of a conversation; longer ones are rejected and counted, as in TRL."
    )

    @model_validator(mode="after")
    def _refuse_quantized_base(self) -> TrainReward:
        # The new head would be drawn in 4 bits, and is trained whole.
        if self.lora is not None and self.lora.quantize:
            raise ValueError("lora.quantize is for policies; leave it out here")
        return self
