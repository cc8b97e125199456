"""Looking into data and policies: what is there, and what is wrong with it."""

from prefboost.diagnosis.inspection import Histogram, Inspection, Lengths, ScoreSummary, inspect
from prefboost.diagnosis.lints import LINTS, Finding

__all__ = ["LINTS", "Finding", "Histogram", "Inspection", "Lengths", "ScoreSummary", "inspect"]
