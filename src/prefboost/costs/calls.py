"""Costs of models that answer and are trained: FLOPs, GPU-hours, dollars, and the store of the answers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pydantic import Field

from prefboost.costs.fleet import Fleet, Workload, estimate_cost, estimate_training_seconds
from prefboost.forecast import CallForecast, Forecast
from prefboost.settings import Settings

__all__ = ["Machines", "estimate_forecast", "estimate_store", "estimate_work"]

_STORED_BYTES = 547
"""Bytes of a stored answer besides its text, as measured by benchmarks/scaling_simulation.py."""

_TOKEN_BYTES = 4
"""Bytes of text per token, a rule of thumb for English."""


_DRIVER_US = {"local": 60.0, "ray": 83.0}
"""CPU microseconds of the command's own process per answer, as measured by benchmarks/ray_asking.py."""


class Machines(Settings):
    """Machines for which a dry run estimates time and price."""

    nodes: int = Field(1, ge=1, description="Number of machines.")
    gpus: int = Field(8, ge=1, description="GPUs of a machine.")
    parameters: float = Field(gt=0, description="Parameters of the model that are used per token.")
    teraflops: float = Field(989.0, gt=0, description="Dense bf16 TFLOP/s of a GPU at its peak; 989 is an H100.")
    utilisation: float = Field(0.4, gt=0, le=1, description="Share of the peak that reading and training reach.")
    writing: float = Field(0.1, gt=0, le=1, description="Share of the peak that writing tokens reaches.")
    dollars: float | None = Field(None, ge=0, description="Price of a GPU-hour; null: unknown.")
    calls_per_s: float | None = Field(None, gt=0, description="Most calls per second that a server allows; null: any.")
    mtbf_hours: float | None = Field(None, gt=0, description="Mean hours between failures of a machine; null: none.")
    driver_us: float | None = Field(
        None,
        ge=0,
        description="Microseconds of the command's own process per answer; null: 83 with --executor ray, 60 without "
        "(measured).",
    )


def estimate_forecast(forecast: Forecast, machines: Machines, executor: str = "local") -> dict[str, float]:
    r"""Estimate what a forecast costs on some machines.

    A token takes 2N FLOPs to read or write, 6N to train on, 2N for the reference model. Of answers whose length nothing
    tells, the most tokens count.

    Args:
        forecast: of a verb.
        machines: that do the work.
        executor: local or ray.

    Returns:
        ``gpu_hours``, ``hours``, ``flops``, ``store_bytes``, and ``dollars`` where a GPU-hour has a price.
    """
    calls = forecast.total
    written = _count_written(calls)
    reading, training = 2 * calls.prompt_tokens, 6.0 * forecast.tokens.get("packed", 0)
    # The reference reads every sequence once, so that its share of the measured time stands for its share of tokens.
    seconds = forecast.seconds
    if seconds.get("training"):
        training *= 1 + seconds.get("reference", 0.0) / seconds["training"]
    weighted = (reading + training) / machines.utilisation + 2 * written / machines.writing
    gpu_s = machines.parameters * weighted / (machines.teraflops * 1e12)
    fleet = Fleet(machines.nodes, machines.gpus, machines.mtbf_hours or math.inf)
    alone = gpu_s / fleet.workers
    if calls.calls:
        # Every answer passes through one process, which keeps the store, the budget and the plan of batches.
        driver_us = _DRIVER_US[executor] if machines.driver_us is None else machines.driver_us
        driver_s, most_per_s = driver_us / 1e6, machines.calls_per_s or math.inf
        work = Workload(calls.calls, gpu_s / calls.calls, 1, driver_s=driver_s, most_per_s=most_per_s)
        alone = estimate_cost(work, fleet).seconds
    elif alone:
        alone, _ = estimate_training_seconds(alone, fleet, save_s=60.0)
    held = alone * fleet.workers / 3600
    estimate = {
        "gpu_hours": held,
        "hours": alone / 3600,
        "flops": machines.parameters * (reading + 2 * written + training),
        "store_bytes": estimate_store(forecast),
    }
    return estimate | ({} if machines.dollars is None else {"dollars": held * machines.dollars})


def estimate_store(forecast: Forecast) -> float:
    """Estimate the bytes of the store that keeps the answers of a forecast; it needs no machines."""
    calls, written = forecast.total.calls, _count_written(forecast.total)
    return float(calls * _STORED_BYTES + written * _TOKEN_BYTES)


def estimate_work(
    forecasts: Iterable[Forecast], machines: Machines | None, executor: str = "local"
) -> dict[str, float]:
    """Estimate work that is done one after the other, such as the stages of a recipe.

    Args:
        forecasts: of each piece of work.
        machines: that do the work, all models having the same number of parameters; None: the store alone is estimated.
        executor: local or ray.

    Returns:
        the sums of what `estimate_forecast` returns.
    """
    sums: dict[str, float] = {}
    for forecast in forecasts:
        alone = {"store_bytes": estimate_store(forecast)}
        for name, value in (alone if machines is None else estimate_forecast(forecast, machines, executor)).items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def _count_written(calls: CallForecast) -> int:
    """Return the tokens that are likely written; the most there can be, where nothing tells."""
    return calls.most_tokens if calls.likely_tokens is None else calls.likely_tokens
