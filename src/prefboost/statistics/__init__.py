"""Numbers with their uncertainty, in plain NumPy."""

from prefboost.statistics.agreement import (
    LengthBias,
    cohens_kappa,
    measure_agreement,
    measure_first_place_share,
    measure_length_bias,
)
from prefboost.statistics.bootstrap import Bootstrap, bootstrap, bootstrap_crossed, bootstrap_mean, bootstrap_mean_by
from prefboost.statistics.bradley_terry import (
    Battles,
    BradleyTerryFit,
    estimate_win_rate_errors,
    estimate_win_rates,
    fit_bradley_terry,
    resample_win_rates,
)
from prefboost.statistics.cluster_error import cluster_standard_error
from prefboost.statistics.interval import Interval, measure_separability
from prefboost.statistics.krippendorff import krippendorff_alpha
from prefboost.statistics.length_control import (
    GamedRows,
    LengthControl,
    LengthRows,
    estimate_length_control,
    fit_length_control,
    resample_length_control,
)
from prefboost.statistics.paired import bootstrap_difference, match_means
from prefboost.statistics.positions import PositionReport, report_positions
from prefboost.statistics.rank_correlation import WithinGroups, rank_values, spearman, spearman_within
from prefboost.statistics.significance import PairedTest, holm, minimum_detectable_effect, run_paired_test
from prefboost.statistics.slope import bootstrap_slope, bootstrap_slope_difference, fit_slope
from prefboost.statistics.win_rate import WinRate, compute_share_bounds, measure_win_rate

__all__ = [
    "Battles",
    "Bootstrap",
    "BradleyTerryFit",
    "GamedRows",
    "Interval",
    "LengthBias",
    "LengthControl",
    "LengthRows",
    "PairedTest",
    "PositionReport",
    "WinRate",
    "WithinGroups",
    "measure_agreement",
    "bootstrap",
    "bootstrap_crossed",
    "bootstrap_mean",
    "bootstrap_mean_by",
    "compute_share_bounds",
    "fit_bradley_terry",
    "cluster_standard_error",
    "cohens_kappa",
    "measure_first_place_share",
    "holm",
    "krippendorff_alpha",
    "measure_length_bias",
    "fit_length_control",
    "resample_length_control",
    "estimate_length_control",
    "match_means",
    "minimum_detectable_effect",
    "bootstrap_difference",
    "run_paired_test",
    "report_positions",
    "rank_values",
    "measure_separability",
    "fit_slope",
    "bootstrap_slope",
    "bootstrap_slope_difference",
    "spearman",
    "spearman_within",
    "measure_win_rate",
    "resample_win_rates",
    "estimate_win_rate_errors",
    "estimate_win_rates",
]
