"""Training: goal pairs in, a policy out; preference pairs in, a reward model out.

Settings load without torch; `train` and `train_reward` load what they need when called.
"""

from prefboost.training.policy.settings import Lora, Train
from prefboost.training.policy.train import train
from prefboost.training.report import TrainReport
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward

__all__ = ["Lora", "Train", "TrainReport", "TrainReward", "train", "train_reward"]
