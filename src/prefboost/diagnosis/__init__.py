"""Looking into data and policies: what is there, and what is wrong with it."""

from prefboost.diagnosis.benchmark_texts import read_question_texts
from prefboost.diagnosis.finding import Example, Finding
from prefboost.diagnosis.inspection import Inspection, inspect
from prefboost.diagnosis.lints import LINTS
from prefboost.diagnosis.measures import Histogram, Lengths, ScoreSummary

__all__ = [
    "Example",
    "Finding",
    "Histogram",
    "Inspection",
    "LINTS",
    "Lengths",
    "ScoreSummary",
    "read_question_texts",
    "inspect",
]
