"""Training: goal pairs in, a policy out; preference pairs in, a reward model out.

Names load on first use: every verb asks `prefboost.training.claim` whether a folder is a training's, and none but
trainings need the rest. Settings load without torch; `train` and `train_reward` load what they need when called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefboost.training.policy.settings import Lora, Train
    from prefboost.training.policy.train import train
    from prefboost.training.policy.trl_displacement import TrlDisplacementWatch
    from prefboost.training.report import TrainReport
    from prefboost.training.reward.settings import TrainReward
    from prefboost.training.reward.train import train_reward

__all__ = ["Lora", "Train", "TrainReport", "TrainReward", "TrlDisplacementWatch", "train", "train_reward"]

_HOMES = {
    "Lora": "policy.settings",
    "Train": "policy.settings",
    "TrainReport": "report",
    "TrainReward": "reward.settings",
    "TrlDisplacementWatch": "policy.trl_displacement",
    "train": "policy.train",
    "train_reward": "reward.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
