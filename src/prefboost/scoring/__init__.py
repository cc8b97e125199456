"""Scorers: completions in, scored completions out, one completion at a time."""

from prefboost.scoring.rules_scorer import RulesScorer, rules_score
from prefboost.scoring.scorer import SCORERS, Scorer

__all__ = ["SCORERS", "RulesScorer", "Scorer", "rules_score"]
