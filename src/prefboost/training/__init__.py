"""Training: goal pairs in, a policy out. Settings load without torch; `train` loads what it needs when called."""

from prefboost.training.train import TrainReport, train
from prefboost.training.train_settings import Lora, Train

__all__ = ["Lora", "Train", "TrainReport", "train"]
