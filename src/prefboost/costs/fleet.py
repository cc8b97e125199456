"""Cost model of items on machines that share them: time, bytes, and where more machines stop to help."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

__all__ = [
    "Fleet",
    "WorkCost",
    "Workload",
    "estimate_cost",
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
