"""The cost model of `prefboost.costs` beside a discrete-event simulation, from one machine to 1,000.

    python benchmarks/scaling_simulation.py [--plot docs/images/scaling.svg] [--quick] [--json]

Every part is an event: the driver hands parts out one by one, each takes a log-normal time on a slot, a server serves
calls at its rate in order of arrival, and a machine that fails loses the parts on it, which begin anew elsewhere.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import math
import random
import statistics
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefboost.costs import Fleet, Workload, estimate_cost, estimate_training_seconds

__all__ = ["VERBS", "compare", "simulate", "simulate_training"]

MEASURED = {
    "augment_row_s": 1.68e-5, "augment_part_s": 0.072, "call_s": 0.00128, "call_bytes": 741.0, "read_row_s": 7.5e-6,
    "shuffled_bytes_least": 2.5, "shuffled_bytes_most": 31.4,
}  # fmt: skip
"""CPU seconds and bytes on a shared machine with two cores of AVX2, 2026-11-29 (`--measure`)."""

PAIRS = (10**6, 10**7, 10**8, 10**9)
NODES = (1, 10, 100, 1000)

# A GPU of 989 dense bf16 TFLOP/s reads at 40 % and writes at 10 % of that; a judge of 70e9 parameters reads 600 tokens
# and writes 50, on 8 GPUs of a node as one replica.
_JUDGE_S = 2 * 70e9 * (600 / 0.4 + 50 / 0.1) / (8 * 989e12)
_GENERATE_S = 2 * 8e9 * (200 / 0.4 + 400 / 0.1) / 989e12

VERBS: dict[str, tuple[Workload, Fleet]] = {
    "augment": (
        Workload(
            1,
            MEASURED["augment_row_s"],
            part_items=50_000,
            part_s=MEASURED["augment_part_s"],
            driver_s=0.02,
            moved_bytes=2_000.0,  # a pair of 1 kB, compressed, read and written
            # Two passes, fitted scales and duplicates: a hash, a score and an id per row.
            shuffled_bytes=MEASURED["shuffled_bytes_most"],
        ),
        Fleet(slots=16, mtbf_hours=1000.0, spread=0.3),
    ),
    "generate": (
        Workload(1, _GENERATE_S, part_items=1_000, part_s=1.0, driver_s=0.005, stored_bytes=MEASURED["call_bytes"]),
        Fleet(slots=8, mtbf_hours=1000.0, spread=0.3),
    ),
    "judge, own 70B": (
        Workload(1, _JUDGE_S, part_items=1_000, part_s=1.0, driver_s=0.005, stored_bytes=MEASURED["call_bytes"]),
        Fleet(slots=1, mtbf_hours=1000.0, spread=0.3),
    ),
    "judge, HTTP": (
        Workload(
            1,
            # 256 calls at once of 2 s each, but not faster than one process can make them.
            max(2.0 / 256, MEASURED["call_s"]),
            part_items=1_000,
            driver_s=0.005,
            most_per_s=2_000.0,
            stored_bytes=MEASURED["call_bytes"],
        ),
        Fleet(slots=1, mtbf_hours=1000.0, spread=0.3),
    ),
}
"""One item of each verb, and one machine."""


def simulate(work: Workload, fleet: Fleet, seed: int = 0) -> float:
    """Simulate a workload; return the seconds until its last part is done."""
    draw = random.Random(seed)
    events: list[tuple[float, int, str, int, int]] = []
    numbers = itertools.count()
    rate = 1 / (3600 * fleet.mtbf_hours)

    def schedule(when: float, kind: str, node: int, life: int) -> None:
        heapq.heappush(events, (when, next(numbers), kind, node, life))

    # A node's life counts its failures: what was begun in an earlier one never ends.
    lives = [0] * fleet.nodes
    busy = [0] * fleet.nodes
    for node in range(fleet.nodes):
        if rate:
            schedule(draw.expovariate(rate), "fail", node, 0)
    idle = deque(node for _ in range(fleet.slots) for node in range(fleet.nodes))
    waiting, done, now, driver_free, server_free = work.parts, 0, 0.0, 0.0, 0.0
    items = work.items / max(work.parts, 1)
    while done < work.parts:
        while waiting and idle:
            node = idle.popleft()
            waiting -= 1
            busy[node] += 1
            driver_free = max(driver_free, now) + work.driver_s
            # The mean of a log-normal is exp(mu + sigma^2 / 2).
            spread = math.exp(draw.gauss(-(fleet.spread**2) / 2, fleet.spread)) if fleet.spread else 1.0
            ends = driver_free + work.mean_part_s * spread
            if work.most_per_s < math.inf:
                server_free = max(server_free, driver_free) + items / work.most_per_s
                ends = max(ends, server_free)
            schedule(ends, "done", node, lives[node])
        now, _, kind, node, life = heapq.heappop(events)
        if life != lives[node]:
            continue
        if kind == "done":
            done += 1
            busy[node] -= 1
            idle.append(node)
        elif kind == "fail":
            lives[node] += 1
            waiting += busy[node]
            busy[node] = 0
            idle = deque(each for each in idle if each != node)
            schedule(now + fleet.repair_s, "back", node, lives[node])
        else:
            idle.extend([node] * fleet.slots)
            schedule(now + draw.expovariate(rate), "fail", node, lives[node])
    return now


def simulate_training(work_s: float, fleet: Fleet, *, save_s: float, between_s: float, seed: int = 0) -> float:
    """Simulate a training that falls back to its last checkpoint whenever a machine fails."""
    draw, now, left = random.Random(seed), 0.0, work_s
    rate = fleet.nodes / (3600 * fleet.mtbf_hours)
    fails = draw.expovariate(rate)
    while left > 0:
        segment = min(between_s, left) + save_s
        if fails < segment:
            now += fails + fleet.repair_s
        else:
            now, left = now + segment, left - between_s
            # The failure that was drawn is still to come; an exponential time has no memory.
        fails = draw.expovariate(rate)
    return now


def measure(rows: int = 60_000) -> dict[str, float]:
    """Measure on this machine what `MEASURED` holds; CPU seconds, so that other work does not count."""
    import resource
    import subprocess
    import sys
    import tempfile

    examples = Path(__file__).parents[1] / "examples" / "scored.jsonl"
    records = [json.loads(line) for line in examples.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def spend(rows: int, part: int) -> float:
            source, out = folder / f"{rows}.jsonl", folder / f"out-{rows}-{part}"
            with source.open("w") as file:
                for number in range(rows):
                    record = records[number % len(records)]
                    prompt = f"{record['prompt']} ({number // len(records)})"
                    file.write(json.dumps(record | {"prompt": prompt}) + "\n")
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [sys.executable, "-m", "prefboost.cli.main", "augment", str(source), "-o", str(out), "--quiet"]
            subprocess.run([*command, f"batch_rows={part}"], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        spend(600, 600)  # what a first run does is not counted
        few, many, parts = spend(rows // 4, rows), spend(rows, rows), spend(rows, rows // 60)
        found = {
            "augment_row_s": (many - few) / (rows * 3 / 4),
            "augment_part_s": (parts - many) / 59,
        }
    return found | _measure_passes(rows) | _measure_calls(2000)


def _measure_passes(rows: int) -> dict[str, float]:
    """Measure the CPU seconds of reading a row, and the bytes per row that the passes of a cluster leave each other."""
    import tempfile
    import time
    from collections.abc import Iterator

    from prefboost.preferences.select import Select
    from prefboost.runs.augment.goals import read_inputs
    from prefboost.runs.augment.settings import Augment
    from prefboost.runs.ray.data import augment_on

    left: dict[str, int] = {}

    class Here:
        """Runs tasks in this process, and weighs what lies between them."""

        tasks = 4

        def __call__(self, work: Any, items: Any) -> Iterator[Any]:
            yield from map(work, items)
            for path in folder.glob(".*.partial/between/*.arrow"):
                left[path.name] = path.stat().st_size

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, float] = {}
        for case, settings in (
            ("least", Augment(batch_rows=rows // 8)),
            ("most", Augment(batch_rows=rows // 8, scale={"kind": "quantile"}, select=Select(dedupe="prompt"))),
        ):
            source = folder / f"{case}.jsonl"
            with source.open("w") as file:
                for number in range(rows):
                    ids = {"prompt_id": f"q{number // 4}", "completion_id": f"c{number}"} if case == "most" else {}
                    row = {"prompt": f"Question {number // 4}?", "completion": f"answer {number}", "score": number % 97}
                    file.write(json.dumps(row | ids) + "\n")
            if case == "least":
                spent = []
                # Fixed costs fall out of the difference, and the first run is not counted.
                for count in (rows // 4, rows // 4, rows):
                    (folder / "read.jsonl").write_text("".join(source.open().readlines()[:count]))
                    begun = time.process_time()
                    for _ in read_inputs(folder / "read.jsonl", settings):
                        pass
                    spent.append(time.process_time() - begun)
                found["read_row_s"] = (spent[2] - spent[1]) / (rows - rows // 4)
            left.clear()
            augment_on(Here(), source, folder / case, settings)
            found[f"shuffled_bytes_{case}"] = sum(left.values()) / rows
    return found


def _measure_calls(rows: int) -> dict[str, float]:
    """Measure the CPU seconds of a call to a server through a store, and the bytes that it leaves there."""
    import multiprocessing
    import tempfile
    import time

    from calls import SAMPLING, requests_of, serve

    from prefboost.engines.openai.engine import OpenAICompatible
    from prefboost.engines.store.reuse import generate_stored
    from prefboost.engines.store.store import Store

    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there, 0.02), daemon=True)
    server.start()
    engine = OpenAICompatible(model="m", base_url=f"http://127.0.0.1:{here.recv()}/v1", concurrency=64).open()
    with tempfile.TemporaryDirectory() as name:
        for turn in (0, 1):
            path = Path(name) / f"store{turn}"
            begun = time.process_time()
            with Store(path) as store:
                for _ in generate_stored(engine, requests_of(rows, turn), SAMPLING, store):
                    pass
            spent = time.process_time() - begun
        stored = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    server.terminate()
    return {"call_s": spent / rows, "call_bytes": stored / rows}


def list_points(pairs: tuple[int, ...] = PAIRS, nodes: tuple[int, ...] = NODES) -> list[tuple[str, Workload, Fleet]]:
    """List workloads and clusters to compare."""
    return [
        (verb, replace(work, items=count), replace(fleet, nodes=machines))
        for verb, (work, fleet) in VERBS.items()
        for count in pairs
        for machines in nodes
    ]


def compare(points: list[tuple[str, Workload, Fleet]], most_parts: int, runs: int) -> list[dict[str, Any]]:
    """Compare model and simulation.

    Args:
        points: from `list_points`.
        most_parts: of a simulation; larger workloads are estimated only.
        runs: simulations, whose mean counts.
    """
    table = []
    for verb, work, fleet in points:
        cost = estimate_cost(work, fleet)
        row = {"verb": verb, "pairs": work.items, "nodes": fleet.nodes, "model_s": cost.seconds, "bound": cost.bound}
        row |= {"efficiency": cost.efficiency, "stored_bytes": cost.stored_bytes, "moved_bytes": cost.moved_bytes}
        if work.parts <= most_parts:
            row["simulated_s"] = statistics.fmean(simulate(work, fleet, seed) for seed in range(runs))
            row["error"] = cost.seconds / row["simulated_s"] - 1
        table.append(row)
    return table


def compare_trainings(runs: int) -> list[dict[str, float]]:
    """Compare a training of 8e9 parameters on 2e9 tokens, 8 GPUs a node, checkpoints of 60 s."""
    table = []
    for nodes in NODES:
        fleet = Fleet(nodes=nodes, slots=8, mtbf_hours=1000.0)
        work_s = 8 * 8e9 * 2e9 / (nodes * 8 * 989e12 * 0.4)
        model, between = estimate_training_seconds(work_s, fleet, save_s=60.0)
        each = [simulate_training(work_s, fleet, save_s=60.0, between_s=between, seed=seed) for seed in range(runs)]
        simulated = statistics.fmean(each)
        table.append({"nodes": nodes, "model_s": model, "simulated_s": simulated, "error": model / simulated - 1})
    return table


def draw(table: list[dict[str, Any]], plot: Path) -> None:
    """Draw hours against machines, a panel per verb: lines are the model, circles the simulation."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "prefboost", "svg.fonttype": "path"})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(VERBS), figsize=(12, 3.2), layout="constrained", sharey=True)
    for axis, verb in zip(axes, VERBS, strict=True):
        for pairs, colour in zip(PAIRS, ("#99e9f2", "#3bc9db", "#1098ad", "#0b7285"), strict=True):
            rows = [row for row in table if row["verb"] == verb and row["pairs"] == pairs]
            label = f"$10^{{{round(math.log10(pairs))}}}$ pairs"
            axis.plot(
                [row["nodes"] for row in rows], [row["model_s"] / 3600 for row in rows], color=colour, label=label
            )
            seen = [row for row in rows if "simulated_s" in row]
            axis.plot(
                [row["nodes"] for row in seen],
                [row["simulated_s"] / 3600 for row in seen],
                *("o",),
                color=colour,
                markersize=4,
            )
        axis.set(xscale="log", yscale="log", title=verb, xlabel="machines")
        axis.grid(color="#e4e7eb")
    axes[0].set_ylabel("hours")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(PAIRS), frameon=False)
    figure.savefig(plot, metadata={"Date": None})


def main() -> None:
    """Print the table, the errors, and draw the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most-parts", type=int, default=100_000)
    parser.add_argument("--measure", action="store_true", help="measure this machine, and end")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(), indent=2))
        return
    table = compare(list_points(), options.most_parts, options.runs)
    print("| verb | pairs | machines | hours | simulated | error | busy | bound |\n|---|---|---|---|---|---|---|---|")
    for row in table:
        simulated, error = (f"{row['simulated_s'] / 3600:.3g}", f"{row['error']:+.1%}") if "error" in row else ("", "")
        cells = [row["verb"], f"{row['pairs']:.0e}", row["nodes"], f"{row['model_s'] / 3600:.3g}", simulated, error]
        print("|", " | ".join(map(str, [*cells, f"{row['efficiency']:.0%}", row["bound"]])), "|")
    errors = sorted(abs(row["error"]) for row in table if "error" in row)
    print(f"{len(errors)} simulated: median error {statistics.median(errors):.1%}, largest {errors[-1]:.1%}")
    for training in compare_trainings(200):
        print("training", json.dumps(training))
    if options.plot:
        draw(table, options.plot)


if __name__ == "__main__":
    main()
