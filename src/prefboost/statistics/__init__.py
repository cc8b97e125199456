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
from prefboost.statistics.krippendorff import krippendorff_alpha
from prefboost.statistics.length_control import (
    GamedRows,
    LengthControl,
    LengthRows,
    length_control,
    length_control_draws,
    length_control_interval,
)
from prefboost.statistics.order import PositionReport, position_report
from prefboost.statistics.paired import matched_means, paired_difference
from prefboost.statistics.rank_correlation import WithinGroups, ranks, spearman, spearman_within
from prefboost.statistics.separability import confident_agreement, separability
from prefboost.statistics.several import PairedTest, holm, minimum_detectable_effect, paired_test
from prefboost.statistics.slope import slope, slope_interval
from prefboost.statistics.win_rate import WinRate, bounds_of, win_rate

__all__ = [
    "Battles",
    "Bootstrap",
    "BradleyTerry",
    "GamedRows",
    "Interval",
    "LengthBias",
    "LengthControl",
    "LengthRows",
    "PairedTest",
    "PositionReport",
    "WinRate",
    "WithinGroups",
    "agreement",
    "bootstrap",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "bounds_of",
    "bradley_terry",
    "cluster_standard_error",
    "cohens_kappa",
    "confident_agreement",
    "first_place_share",
    "holm",
    "krippendorff_alpha",
    "length_bias",
    "length_control",
    "length_control_draws",
    "length_control_interval",
    "matched_means",
    "minimum_detectable_effect",
    "paired_difference",
    "paired_test",
    "position_report",
    "ranks",
    "separability",
    "slope",
    "slope_interval",
    "spearman",
    "spearman_within",
    "win_rate",
    "win_rate_draws",
    "win_rate_errors",
    "win_rate_intervals",
]
