"""Training: goal pairs in, a policy out; preference pairs in, a reward model out.

Settings load without torch; `train` and `train_reward` load what they need when called.
"""

from prefboost.training.reward_settings import TrainReward
from prefboost.training.train import TrainReport, train
from prefboost.training.train_reward import train_reward
from prefboost.training.train_settings import Lora, Train

__all__ = ["Lora", "Train", "TrainReport", "TrainReward", "train", "train_reward"]
