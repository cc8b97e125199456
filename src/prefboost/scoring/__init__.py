"""Scorers: completions in, scored completions out, one completion at a time."""

from prefboost.scoring.implicit import ImplicitReward
from prefboost.scoring.rater import Rater
from prefboost.scoring.regressor.scorer import RegressorScorer
from prefboost.scoring.reward_model import RewardModelScorer
from prefboost.scoring.rules.scorer import RulesScorer
from prefboost.scoring.scorer import SCORERS, Scorer, StoredScorer

__all__ = [
    "SCORERS",
    "ImplicitReward",
    "Rater",
    "RegressorScorer",
    "RewardModelScorer",
    "RulesScorer",
    "Scorer",
    "StoredScorer",
]
