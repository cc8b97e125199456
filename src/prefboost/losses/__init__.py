"""Losses on pairs: settings objects that are called with a batch of log-probs. The settings load without torch."""

from prefboost.losses.dpo import DPO, DiscoPOP, Hinge, RobustDPO
from prefboost.losses.exo import EXOPair
from prefboost.losses.interface import Loss, LossOutput, PairLogps
from prefboost.losses.kinds import SINGLE_LOSSES
from prefboost.losses.reference_free import CPO, ORPO, SFT, SimPO
from prefboost.losses.score_aware import RPO, MarginDPO
from prefboost.losses.squared import IPO, SPPOHard
from prefboost.losses.transport import AOT, AOTUnpaired
from prefboost.losses.unpaired import APODown, APOZero, BCOPair, KTOPair, NCAPair
from prefboost.losses.weighted_sum import Term, WeightedSum
from prefboost.settings import Settings

__all__ = [
    "AOT",
    "AOTUnpaired",
    "APODown",
    "APOZero",
    "BCOPair",
    "CPO",
    "DPO",
    "DiscoPOP",
    "EXOPair",
    "Hinge",
    "IPO",
    "KTOPair",
    "LOSSES",
    "Loss",
    "LossOutput",
    "MarginDPO",
    "NCAPair",
    "ORPO",
    "PairLogps",
    "RPO",
    "RobustDPO",
    "SFT",
    "SPPOHard",
    "SimPO",
    "Term",
    "WeightedSum",
]

LOSSES: dict[str, type[Settings]] = {**SINGLE_LOSSES, "sum": WeightedSum}
"""Every loss by its kind, which recipes name."""
