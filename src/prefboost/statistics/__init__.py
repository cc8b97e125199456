"""Numbers with their uncertainty, in plain NumPy."""

from prefboost.statistics.bootstrap import Bootstrap, bootstrap, bootstrap_mean, bootstrap_mean_by
from prefboost.statistics.cluster_error import cluster_standard_error
from prefboost.statistics.interval import Interval
from prefboost.statistics.paired import matched_means, paired_difference
from prefboost.statistics.rank_correlation import WithinGroups, ranks, spearman, spearman_within
from prefboost.statistics.slope import slope, slope_interval

__all__ = [
    "Bootstrap",
    "Interval",
    "WithinGroups",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "cluster_standard_error",
    "matched_means",
    "paired_difference",
    "ranks",
    "slope",
    "slope_interval",
    "spearman",
    "spearman_within",
]
