"""The paper: which completions are paired, who wins under a goal, and how the goal is said (arXiv 2410.08067)."""

from prefboost.preferences.condition import condition, resolve_place
from prefboost.preferences.pair import (
    PAIR_STRATEGIES,
    Adjacent,
    AllPairs,
    BestVsRandom,
    BestVsWorst,
    MarginAtLeast,
    PairStrategy,
    pair,
)
from prefboost.preferences.relabel import RELABELLINGS, HighGoalOnly, Plain, Relabelling, RewardAugmented, relabel
from prefboost.preferences.scales.apply import apply_scale
from prefboost.preferences.scales.fit import fit_scale, fit_scales
from prefboost.preferences.scales.kinds import (
    SCALES,
    DeclaredRange,
    FittedScale,
    MinMax,
    Percentile,
    Quantile,
    Scale,
)

__all__ = [
    "PAIR_STRATEGIES",
    "RELABELLINGS",
    "SCALES",
    "Adjacent",
    "AllPairs",
    "BestVsRandom",
    "BestVsWorst",
    "DeclaredRange",
    "FittedScale",
    "HighGoalOnly",
    "MarginAtLeast",
    "MinMax",
    "PairStrategy",
    "Percentile",
    "Plain",
    "Quantile",
    "Relabelling",
    "RewardAugmented",
    "Scale",
    "apply_scale",
    "condition",
    "fit_scale",
    "fit_scales",
    "pair",
    "relabel",
    "resolve_place",
]
