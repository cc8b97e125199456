"""What a pool of models on a Ray cluster costs the driver for each row, beside the same rows without a pool.

    python benchmarks/ray_asking.py --rows 20000 --batch-rows 256 --workers 2

The engine answers at once, so that all time is that of keys, batches, the store and, with the pool, of Ray. Both are
run in turn, several times, into new stores. CPU time is that of the driver, all threads: workers are other processes.
The rows that a driver can pass on in a second bound how many workers it keeps busy; with more, give each of several
drivers a shard.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from prefboost.engines.budget import Ledger, Spending
from prefboost.engines.engine import Messages, Request, Result, Sampling
from prefboost.engines.store.reuse import generate_stored
from prefboost.engines.store.store import Store
from prefboost.recipes.executors import OnRay
from prefboost.runs.ray.asking import open_pool
from prefboost.settings import Settings

SAMPLING = Sampling(max_tokens=64)
ANSWER = "An answer of some words, as a model might give it. " * 4


class Echo(Settings):
    """A model that answers at once."""

    kind: Literal["echo"] = Field("echo", description="Answers at once.")
    batch_rows: int = Field(256, description="Rows of a batch.")

    def open(self) -> EchoEngine:
        return EchoEngine(self)


class EchoEngine:
    """See `prefboost.engines.engine.Engine`."""

    remote = False
    says_goals = False
    context = None
    identity = "echo"

    def __init__(self, settings: Echo) -> None:
        self.settings = settings
        self.ledger = Ledger()

    def render(self, request: Request) -> str:
        return request.json_text

    def render_conversation(self, messages: Messages) -> str:
        return self.render(Request(messages))

    def prompt_tokens(self, requests: Sequence[Request]) -> list[int]:
        return [20] * len(requests)

    def plan(self, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
        rows, size = list(range(len(requests))), self.settings.batch_rows
        return [rows[start : start + size] for start in range(0, len(rows), size)]

    def generate(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[tuple[int, Result]]:
        for index, _ in enumerate(requests):
            yield index, Result(ANSWER, "stop", 20, 48)


def measure(engine: Any, requests: Sequence[Request]) -> tuple[float, float]:
    """Complete all requests into a new store; return microseconds of wall time and of the driver's CPU per row."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store") as store:
        wall, cpu = time.perf_counter(), time.process_time()
        count = sum(len(batch.results) for batch in generate_stored(engine, requests, SAMPLING, store))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert count == len(requests)
    return wall / count * 1e6, cpu / count * 1e6


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--batch-rows", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--address", help="of a cluster; none: one is started here")
    arguments = parser.parse_args()
    requests = [
        Request([{"role": "user", "content": f"Question {number}, with some words behind it?", "extra": None}])
        for number in range(arguments.rows)
    ]
    settings = Echo(batch_rows=arguments.batch_rows)
    costs: dict[str, list[tuple[float, float]]] = {"local": [], "pool": []}
    with open_pool(OnRay(address=arguments.address, tasks=arguments.workers), Spending()) as pool:
        engines = {"local": settings.open(), "pool": pool.open_engine(settings)}
        # Workers start at the first call, which is not what is measured.
        measure(engines["pool"], requests[: arguments.batch_rows])
        for _ in range(arguments.turns):
            for name, engine in engines.items():
                costs[name].append(measure(engine, requests))
    print(f"{arguments.rows:,} rows, batches of {arguments.batch_rows}, {arguments.workers} workers, best of turns")
    for name, turns in costs.items():
        wall, cpu = (min(turn[at] for turn in turns) for at in (0, 1))
        print(f"{name:<6} {wall:7.1f} us/row  {1e6 / wall:9,.0f} rows/s  driver's CPU {cpu:7.1f} us/row")
    ratios = [pool_cpu / local_cpu for (_, local_cpu), (_, pool_cpu) in zip(*costs.values(), strict=True)]
    print(f"driver's CPU, pool / local within a turn: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
