"""Cost model of work on many machines: time, GPU-hours, dollars, bytes, and where more machines stop to help."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from pydantic import Field

from prefboost.forecast import Forecast
from prefboost.settings import Settings

__all__ = [
    "Fleet",
    "Machines",
    "RowMachines",
    "WorkCost",
    "Workload",
    "estimate_cost",
    "estimate_forecast",
    "estimate_rows",
    "estimate_traffic",
    "estimate_training_seconds",
    "wait_for_last",
]

_NORMAL = NormalDist()
_GUMBEL = math.exp(-0.5772156649)
"""The largest of n times is on average about their quantile of 1 - e^-gamma / n."""


@dataclass(frozen=True)
class Fleet:
    """Machines that share the work.

    Args:
        nodes: number of machines.
        slots: parts that a machine works on at once: its GPUs, model replicas or cores.
        mtbf_hours: mean time between failures of one machine; infinite: none fails.
        repair_s: until a machine that failed, or another in its place, works again.
        spread: standard deviation of the logarithm of a part's time; 0: no stragglers, 1: a part in 40 takes five times
            the mean.
    """

    nodes: int = 1
    slots: int = 1
    mtbf_hours: float = math.inf
    repair_s: float = 600.0
    spread: float = 0.0

    @property
    def workers(self) -> int:
        """Return the number of parts that are worked on at once."""
        return self.nodes * self.slots


@dataclass(frozen=True)
class Workload:
    """Items that are worked on in parts.

    Args:
        items: rows or calls.
        item_s: seconds of one item on one slot.
        part_items: items of a part, which is lost as a whole with its machine.
        part_s: seconds that a part costs its slot besides its items.
        driver_s: seconds that a part costs the driver, which serves one part after the other.
        most_per_s: items per second that a server takes at most, from all machines together.
        stored_bytes: written per item to the store.
        moved_bytes: read from and written to an object store, per item.
        shuffled_bytes: exchanged between machines, per item.
    """

    items: int
    item_s: float
    part_items: int = 10_000
    part_s: float = 0.0
    driver_s: float = 0.0
    most_per_s: float = math.inf
    stored_bytes: float = 0.0
    moved_bytes: float = 0.0
    shuffled_bytes: float = 0.0

    @property
    def parts(self) -> int:
        """Return the number of parts, the last of which may be smaller."""
        return -(-self.items // self.part_items)

    @property
    def mean_part_s(self) -> float:
        """Return the mean seconds of a part on its slot, without failures."""
        return self.items * self.item_s / max(self.parts, 1) + self.part_s


@dataclass(frozen=True)
class WorkCost:
    """Expected cost of a workload on a fleet.

    Args:
        seconds: from the first part to the last.
        bound: ``machines``, ``driver``, ``server`` or ``parts``: what more of would shorten it.
        slot_hours: that the fleet is held, over all slots.
        efficiency: seconds of items alone, over the seconds of all slots.
        stored_bytes: in the store.
        moved_bytes: of object-store traffic.
        shuffled_bytes: between machines.
    """

    seconds: float
    bound: str
    slot_hours: float
    efficiency: float
    stored_bytes: float
    moved_bytes: float
    shuffled_bytes: float


def estimate_cost(work: Workload, fleet: Fleet) -> WorkCost:
    r"""Estimate the cost of a workload.

    With P parts of mean time t on W slots, machines that fail at rate lambda and are back after R seconds, a part that
    begins anew after each failure takes $t' = (e^{\lambda t} - 1)(1/\lambda + R)$. The time is the largest of

    - machines: $P t'/W$ and the wait for the last parts (`wait_for_last`);
    - driver: $P d + t'$, since it serves the parts one by one;
    - server: items over its rate.
    """
    mean = work.mean_part_s
    failing = _begin_anew(mean, 1 / (3600 * fleet.mtbf_hours), fleet.repair_s)
    if work.parts > fleet.workers:
        waits = wait_for_last(failing, fleet.spread, fleet.workers)
        # When no part is left to begin, every slot has one under way: its mean remaining time is done by then.
        left = failing * math.exp(fleet.spread**2) / 2
        machines, name = work.parts * failing / fleet.workers + max(waits - left, 0.0), "machines"
    else:
        # All parts begin at once, as fast as the driver hands them out: the slowest of P log-normal times ends last.
        slowest = _NORMAL.inv_cdf(1 - _GUMBEL / max(work.parts, 1))
        slow = max(math.exp(fleet.spread * slowest - fleet.spread**2 / 2), 1.0)
        machines, name = failing * slow + work.parts * work.driver_s / 2, "parts"
    bounds = {
        name: machines,
        "driver": work.parts * work.driver_s + failing,
        "server": work.items / work.most_per_s,
    }
    bound = max(bounds, key=bounds.__getitem__)
    seconds = bounds[bound]
    held = seconds * fleet.workers
    return WorkCost(
        seconds,
        bound,
        held / 3600,
        work.items * work.item_s / held if held else 1.0,
        work.items * work.stored_bytes,
        work.items * work.moved_bytes,
        work.items * work.shuffled_bytes,
    )


def _begin_anew(seconds: float, rate: float, repair_s: float) -> float:
    """Expect the time of work that begins anew whenever a failure comes, at a rate per second."""
    # Beyond e^700 floats end, and no such work ever finishes.
    return math.expm1(min(rate * seconds, 700.0)) * (1 / rate + repair_s) if rate else seconds


def wait_for_last(mean: float, spread: float, workers: int) -> float:
    r"""Expect how long the slowest of some parts still takes, if each was begun at a random time before.

    The remaining time of a part under way has the tail $E[(T - r)^+]/E[T]$; for a log-normal T that is the formula of
    Black and Scholes. The largest of W such times is on average about the r whose tail is $e^{-\gamma}/W$ (Gumbel).
    """
    if workers <= 0 or mean <= 0:
        return 0.0
    if spread == 0:
        return mean * workers / (workers + 1)
    low, high = 0.0, mean * math.exp(40 * spread)
    for _ in range(200):
        middle = (low + high) / 2
        first = math.log(mean / middle) / spread + spread / 2 if middle else math.inf
        tail = _NORMAL.cdf(first) - middle / mean * _NORMAL.cdf(first - spread)
        low, high = (middle, high) if tail > _GUMBEL / workers else (low, middle)
    return low


def estimate_training_seconds(work_s: float, fleet: Fleet, *, save_s: float) -> tuple[float, float]:
    r"""Estimate a training that stops as a whole when any machine fails, and resumes from its last checkpoint.

    With failures at rate $\Lambda$ = nodes/MTBF and checkpoints of C seconds every $\tau = \sqrt{2C/\Lambda}$ (Young),
    the expected time is $T/\tau\,(e^{\Lambda(\tau + C)} - 1)(1/\Lambda + R)$.

    Args:
        work_s: T, seconds of all steps without failures and checkpoints.
        fleet: with repair time R.
        save_s: C, seconds of one checkpoint.

    Returns:
        expected seconds, and seconds between checkpoints.
    """
    if math.isinf(fleet.mtbf_hours):
        return work_s, work_s
    rate = fleet.nodes / (3600 * fleet.mtbf_hours)
    between = min(math.sqrt(2 * save_s / rate), work_s)
    return work_s / between * _begin_anew(between + save_s, rate, fleet.repair_s), between


_STORED_BYTES = 547
"""Bytes of a stored answer besides its text, as measured by benchmarks/scaling_simulation.py."""

_TOKEN_BYTES = 4
"""Bytes of text per token, a rule of thumb for English."""


_DRIVER_US = {"local": 60.0, "ray": 83.0}
"""CPU microseconds of the command's own process per answer, as measured by benchmarks/ray_asking.py."""

_ROW_US = {"local": 19.4, "ray": 38.2}
"""CPU microseconds of `augment` per record of short texts, as measured by benchmarks/ray_augment.py."""


_OUTPUT_REQUESTS, _PART_REQUESTS = 24, 8
"""Requests of `augment` to an object store, per output and per part with rejects, as counted in a run."""

_FILE_PART_BYTES = 2.1
"""Bytes of the parts of a single file, which are put together by the command, per byte of the file."""


class RowMachines(Settings):
    """Machines for which a dry run of `augment` estimates time and price."""

    nodes: int = Field(1, ge=1, description="Number of machines.")
    cores: int = Field(16, ge=1, description="Cores of a machine, each with a part or a shard at a time.")
    records: int | None = Field(None, ge=1, description="Records of the input; null: what its files tell.")
    row_us: float | None = Field(
        None,
        gt=0,
        description="CPU microseconds per record; null: 38.2 with --executor ray and 19.4 without, measured.",
    )
    read_us: float = Field(
        6.0, ge=0, description="Of these, what reading a record takes: each shard reads all of them."
    )
    part_ms: float = Field(72.0, ge=0, description="CPU milliseconds per part besides its records, measured.")
    driver_ms: float = Field(
        20.0, ge=0, description="Milliseconds of the command's own process per part on a cluster; assumed."
    )
    shuffled_bytes: float = Field(
        31.0,
        ge=0,
        description="Bytes per record that tasks of a cluster leave each other; measured 31 with ids, a fitted scale "
        "and select.dedupe=prompt, 2.5 without all three.",
    )
    output_bytes: float = Field(
        172.0, ge=0, description="Bytes per record of an output at an address; measured with short texts, as Parquet."
    )
    mtbf_hours: float | None = Field(None, gt=0, description="Mean hours between failures of a machine; null: none.")
    dollars: float | None = Field(None, ge=0, description="Price of a machine for an hour; null: unknown.")


def estimate_rows(
    records: int, part_records: int, machines: RowMachines, *, executor: str = "local", shards: int = 1
) -> dict[str, float]:
    """Estimate what `augment` costs on some machines.

    A cluster has parts on all cores, and a process that hands them out. Shards are processes without one, and each of
    them reads the whole input. Without either, one core does everything.

    Args:
        records: of the input.
        part_records: records of a part.
        machines: that do the work.
        executor: local or ray.
        shards: processes that share the work of the executor ``local``.

    Returns:
        ``hours``, ``machine_hours``, ``shuffled_bytes``, and ``dollars`` where a machine-hour has a price.
    """
    row_s = (_ROW_US[executor] if machines.row_us is None else machines.row_us) / 1e6
    part_s = machines.part_ms / 1e3
    fleet = Fleet(machines.nodes, machines.cores, machines.mtbf_hours or math.inf)
    if executor == "ray":
        driver_s = machines.driver_ms / 1e3
        work = Workload(
            records, row_s, part_records, part_s, driver_s, shuffled_bytes=machines.shuffled_bytes
        )  # fmt: skip
    else:
        read_s = min(machines.read_us / 1e6, row_s)
        parts = -(-records // part_records)
        work = Workload(shards, records * (read_s + (row_s - read_s) / shards) + parts * part_s / shards, 1)
        if shards == 1:
            fleet = Fleet(1, 1, fleet.mtbf_hours)
    cost = estimate_cost(work, fleet)
    held = cost.seconds * fleet.nodes / 3600
    estimate = {"hours": cost.seconds / 3600, "machine_hours": held, "shuffled_bytes": cost.shuffled_bytes}
    return estimate | ({} if machines.dollars is None else {"dollars": held * machines.dollars})


def estimate_traffic(
    records: int,
    part_records: int,
    machines: RowMachines,
    *,
    read_bytes: float,
    output: Literal["folder", "file"] | None,
) -> dict[str, float]:
    """Estimate what `augment` exchanges with an object store.

    Parts are put there, and copied by the store to a folder. A single file is put together by the command, which reads
    its parts and writes the file.

    Args:
        records: of the input.
        part_records: records of a part.
        machines: with the bytes of the output per record.
        read_bytes: of inputs at addresses, by all processes that read them.
        output: what is written to an address; None: nothing.

    Returns:
        ``object_read_bytes``, ``object_written_bytes`` and ``object_requests``; empty without addresses.
    """
    if output is None:
        return (
            {"object_read_bytes": read_bytes, "object_written_bytes": 0.0, "object_requests": 1.0} if read_bytes else {}
        )
    final = records * machines.output_bytes
    parts = final if output == "folder" else final * _FILE_PART_BYTES
    again = 0.0 if output == "folder" else 1.0
    return {
        "object_read_bytes": read_bytes + again * parts,
        "object_written_bytes": parts + again * final,
        "object_requests": float(_OUTPUT_REQUESTS + _PART_REQUESTS * -(-records // part_records)),
    }


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
        ``gpu_hours``, ``hours``, ``store_bytes``, and ``dollars`` where a GPU-hour has a price.
    """
    calls = forecast.total
    written = calls.most_tokens if calls.likely_tokens is None else calls.likely_tokens
    reading = 2 * calls.prompt_tokens / machines.utilisation
    training = 6 * forecast.tokens.get("packed", 0) / machines.utilisation
    # The reference reads every sequence once, so that its share of the measured time stands for its share of tokens.
    seconds = forecast.seconds
    if seconds.get("training"):
        training *= 1 + seconds.get("reference", 0.0) / seconds["training"]
    flops = machines.parameters * (reading + 2 * written / machines.writing + training)
    gpu_s = flops / (machines.teraflops * 1e12)
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
        "store_bytes": float(calls.calls * _STORED_BYTES + written * _TOKEN_BYTES),
    }
    return estimate | ({} if machines.dollars is None else {"dollars": held * machines.dollars})
