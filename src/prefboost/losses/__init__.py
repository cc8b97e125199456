"""Losses on pairs: settings objects that are called with a batch of log-probs. Settings load without torch."""

from prefboost.losses.dpo import DPO, DiscoPOP, Hinge, RobustDPO
from prefboost.losses.interface import Loss, LossOutput, PairLogps
from prefboost.settings import Settings

__all__ = ["DPO", "LOSSES", "DiscoPOP", "Hinge", "Loss", "LossOutput", "PairLogps", "RobustDPO"]

LOSSES: dict[str, type[Settings]] = {"dpo": DPO, "robust": RobustDPO, "hinge": Hinge, "discopop": DiscoPOP}
"""Every loss by the kind that stands in recipes."""
