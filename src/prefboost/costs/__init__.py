"""The cost model of work on many machines: time, GPU-hours, dollars, bytes, and where more machines stop to help."""

from prefboost.costs.calls import Machines, estimate_forecast, estimate_store, estimate_work
from prefboost.costs.fleet import (
    Fleet,
    WorkCost,
    Workload,
    estimate_cost,
    estimate_training_seconds,
    wait_for_last,
)
from prefboost.costs.rows import RowMachines, estimate_rows, estimate_select_traffic, estimate_traffic

__all__ = [
    "Fleet",
    "Machines",
    "RowMachines",
    "WorkCost",
    "Workload",
    "estimate_cost",
    "estimate_forecast",
    "estimate_rows",
    "estimate_select_traffic",
    "estimate_store",
    "estimate_traffic",
    "estimate_training_seconds",
    "estimate_work",
    "wait_for_last",
]
