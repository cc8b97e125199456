"""Numbers with their uncertainty, in plain NumPy."""

from prefboost.statistics.agreement import LengthBias, agreement, cohens_kappa, first_place_share, length_bias
from prefboost.statistics.bootstrap import Bootstrap, bootstrap, bootstrap_mean, bootstrap_mean_by
from prefboost.statistics.bradley_terry import (
    Battles,
    BradleyTerry,
    bradley_terry,
    win_rate_draws,
    win_rate_errors,
    win_rate_intervals,
)
from prefboost.statistics.cluster_error import cluster_standard_error
from prefboost.statistics.interval import Interval
from prefboost.statistics.paired import matched_means, paired_difference
from prefboost.statistics.rank_correlation import WithinGroups, ranks, spearman, spearman_within
from prefboost.statistics.slope import slope, slope_interval

__all__ = [
    "Battles",
    "Bootstrap",
    "BradleyTerry",
    "Interval",
    "LengthBias",
    "WithinGroups",
    "agreement",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "bradley_terry",
    "cluster_standard_error",
    "cohens_kappa",
    "first_place_share",
    "length_bias",
    "matched_means",
    "paired_difference",
    "ranks",
    "slope",
    "slope_interval",
    "spearman",
    "spearman_within",
    "win_rate_draws",
    "win_rate_errors",
    "win_rate_intervals",
]
