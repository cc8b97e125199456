"""What a verb costs on a Ray cluster, beside the same input in one process: the same bytes, CPU time, and memory.

    python benchmarks/ray_augment.py --rows 1000000 --more 4000000 --nodes 2
    python benchmarks/ray_augment.py --verb select --rows 100000 --more 400000
    python benchmarks/ray_augment.py --verb score --rows 1000000 --more 0
    python benchmarks/ray_augment.py --local --rows 400000 --more 1600000

A cluster of several nodes is started on this machine, with a core for each. The command runs without Ray, then with
``--executor ray``; both write a folder of Parquet (select and score: one file), which must have the same bytes. The
scorer takes no time, so that what is measured is everything else. On one machine
no speed-up can be shown: what is measured is the CPU time per row of all processes, and the most memory that the
driver and the workers of a node take, which must not grow with the rows (``--more``, without the local run).

With ``--local`` there is no cluster: `score`, `judge` and `select` run in one process, over ``--rows`` and over
``--more`` rows, and what their peak memory grows by for each further row is printed.

Memory of a node is that of its workers without what they share; memory of the driver is its peak (ru_maxrss).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import psutil
from pydantic import Field

from prefboost.engines.call_session import CallSession
from prefboost.engines.pool import count_batches_at_once, open_model
from prefboost.scoring.sides import ScoredItems, Scores, with_scores
from prefboost.scoring.stored import compute_numbers
from prefboost.settings import Settings
from prefboost.tables import Table

COMMAND = [sys.executable, "-c", "from prefboost.cli.main import main; main()"]
VERBS = {
    "augment": ["augment", "IN", "-o", "OUT", "--quiet", "--json"],
    "select": ["select", "IN", "kind=best_of_n", "-o", "OUT", "--json"],
    "judge": ["judge", "IN", "kind=scorer", "scorer.kind=ray_augment:NodeScorer", "-o", "OUT", "--quiet", "--json"],
    "score": ["score", "IN", "kind=ray_augment:NodeScorer", "-o", "OUT", "--quiet", "--json"],
}
COMPLETIONS = 4
"""Of each prompt that `select` chooses from."""

LOOK_S = 0.25
CHUNK = 200_000
MIB = 1 << 20


@dataclass
class Cost:
    """Cost of a run.

    Args:
        wall: seconds.
        cpu: seconds of the command and of the cluster's workers.
        driver: peak memory of the command, in bytes.
        nodes: peak memory of the workers of each node, in bytes.
    """

    wall: float
    cpu: float
    driver: int
    nodes: list[int] = field(default_factory=list)


class NodeScorer(Settings):
    """Scores a completion by a checksum of its text, on the nodes where there are any."""

    kind: Literal["ray_augment:NodeScorer"] = Field("ray_augment:NodeScorer", description="A checksum of the text.")
    device: str = Field("cpu", description="Where it is computed.")
    batch_rows: int = Field(500, ge=1, description="Rows of a batch.")

    def score(self, table: Table) -> Table:
        """See `prefboost.scoring.scorer.Scorer`."""
        return self.score_stored(table, CallSession())

    def score_stored(self, table: Table, session: CallSession) -> Table:
        """See `prefboost.scoring.scorer.StoredScorer`."""
        items = ScoredItems(table)
        model = open_model(self.device, Checksums)

        def list_texts() -> Iterator[tuple[int, str, str]]:
            for index, item in enumerate(items):
                text = str(item.completion[-1]["content"])
                yield index, hashlib.sha256(text.encode()).hexdigest()[:32], text

        def plan(piece: list[str]) -> Iterator[range]:
            yield from (
                range(start, min(start + self.batch_rows, len(piece)))
                for start in range(0, len(piece), self.batch_rows)
            )

        scores = Scores()
        at_once = count_batches_at_once(model)
        for index, numbers in compute_numbers(
            list_texts(), len(items), plan, model.compute, session, "checksums", at_once=at_once
        ):
            scores.values[items.find_key(index)] = numbers or [None]
        return with_scores(table, scores, self.model_dump(mode="json"), {}, None)


class Checksums:
    """The model of `NodeScorer`: it is loaded at once, and its numbers are the same everywhere."""

    def compute(self, texts: Sequence[str]) -> list[list[float]]:
        """Compute a number from 0 to 1 for each text."""
        return [[zlib.crc32(text.encode()) / 2**32] for text in texts]


class NodeWatch(threading.Thread):
    """Look at the workers of nodes until it is ended.

    Args:
        raylets: process ids of the nodes; their children are the workers.
    """

    def __init__(self, raylets: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.raylets = [psutil.Process(number) for number in raylets]
        self.peaks = [0] * len(raylets)
        self.seconds: dict[tuple[int, float], float] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(LOOK_S):
            self.look()

    def look(self) -> None:
        """Note the memory of every node, and the CPU time of every worker so far."""
        for at, raylet in enumerate(self.raylets):
            total = 0
            for worker in raylet.children(recursive=True):
                try:
                    memory, times = worker.memory_info(), worker.cpu_times()
                    self.seconds[worker.pid, worker.create_time()] = times.user + times.system
                except psutil.NoSuchProcess:
                    continue
                total += memory.rss - memory.shared
            self.peaks[at] = max(self.peaks[at], total)


def write_input(path: Path, rows: int, seed: int = 0) -> None:
    """Write scored pairs of short texts, in row groups, without ever holding all of them."""

    def build(number: pl.Series, texts: list[pl.Series], rng: np.random.Generator) -> dict[str, Any]:
        scores = rng.integers(10, 101, (2, len(number))) / 10
        return {
            "prompt": number.cast(pl.String) + ": " + texts[0],
            "chosen": texts[1],
            "rejected": texts[2],
            "score_chosen": np.maximum(*scores),
            "score_rejected": np.minimum(*scores),
        }

    _write_chunks(path, rows, 3, build, seed)


def write_completions(path: Path, rows: int, seed: int = 0) -> None:
    """Write scored completions of short texts, those of a prompt side by side; see `write_input`."""

    def build(number: pl.Series, texts: list[pl.Series], rng: np.random.Generator) -> dict[str, Any]:
        return {
            "prompt": "What is said of number " + (number // COMPLETIONS).cast(pl.String) + ", in a few words?",
            "completion": number.cast(pl.String) + ": " + texts[0],
            "score": rng.integers(10, 101, len(number)) / 10,
        }

    _write_chunks(path, rows, 1, build, seed)


def _write_chunks(path: Path, rows: int, texts: int, build: Callable[..., dict[str, Any]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.array([f"word{number}" for number in range(2000)])
    path.mkdir()
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        drawn = [_join([words[rng.integers(0, len(words), count)] for _ in range(8)]) for _ in range(texts)]
        columns = build(pl.Series("number", range(start, start + count)), drawn, rng)
        pl.DataFrame(columns).write_parquet(path / f"{start:09d}.parquet", row_group_size=20_000)


def _join(parts: Sequence[Any]) -> pl.Series:
    columns = {f"word{at}": part for at, part in enumerate(parts)}
    return pl.DataFrame(columns).select(pl.concat_str(pl.all(), separator=" ")).to_series()


def run(folder: Path, source: Path, words: Sequence[str], raylets: Sequence[int] = ()) -> Cost:
    """Let a verb write `out` in a folder (the card names it), and measure it and the workers of the nodes."""
    folder.mkdir()
    watch = NodeWatch(raylets)
    watch.look()
    before = dict(watch.seconds)
    watch.start()
    begin = time.perf_counter()
    command = [*COMMAND, *(str(source) if word == "IN" else word for word in words)]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    watch.ended.set()
    watch.join()
    watch.look()
    if status:
        raise SystemExit(f"{words[0]} ended with {os.waitstatus_to_exitcode(status)}")
    workers = sum(seconds - before.get(worker, 0.0) for worker, seconds in watch.seconds.items())
    return Cost(wall, usage.ru_utime + usage.ru_stime + workers, usage.ru_maxrss * 1024, watch.peaks)


def hash_files(folder: Path) -> dict[str, str]:
    """Hash every file of an output, without the store of answers beside it."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and ".store" not in path.parent.suffixes:
            with path.open("rb") as stream:
                digests[str(path.relative_to(folder))] = hashlib.file_digest(stream, "blake2b").hexdigest()
    return digests


def show(name: str, cost: Cost, rows: int) -> None:
    """Print a line."""
    nodes = ", ".join(f"{peak / MIB:,.0f}" for peak in cost.nodes)
    print(
        f"{name:<6} {rows:>9,} rows  {cost.wall:7.1f} s  CPU {cost.cpu / rows * 1e6:6.1f} us/row  "
        f"driver {cost.driver / MIB:,.0f} MiB{f'  nodes {nodes} MiB' if nodes else ''}",
        flush=True,
    )


def choose_input(verb: str) -> Callable[[Path, int], None]:
    """Choose what writes the input of a verb: pairs, or completions."""
    return write_input if verb in ("augment", "judge") else write_completions


def list_words(verb: str, ending: str) -> list[str]:
    """List the words of a verb's command, with its output named."""
    out = "out" if verb == "augment" else f"out.{ending}"
    return [out if word == "OUT" else word for word in VERBS[verb]]


def measure_growth(folder: Path, verb: str, ending: str, sizes: Sequence[int]) -> None:
    """Print the cost of a verb in one process at two sizes, and the growth of its peak memory per row."""
    costs = []
    for rows in sizes:
        place = folder / f"{verb}-{rows}"
        place.mkdir()
        choose_input(verb)(place / "in", rows)
        costs.append(run(place / "local", place / "in", list_words(verb, ending)))
        show(verb, costs[-1], rows)
        shutil.rmtree(place)
    growth = (costs[1].driver - costs[0].driver) / (sizes[1] - sizes[0])
    print(f"{verb:<6} {growth:,.0f} bytes per further row", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", choices=VERBS, default="augment")
    parser.add_argument("--ending", default="parquet", help="of the file that select or score writes")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--more", type=int, default=4_000_000, help="rows of the test of memory; 0 skips it")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where files are written (default: the system's)")
    parser.add_argument("--local", action="store_true", help="memory of score, judge and select, without a cluster")
    options = parser.parse_args()
    write, words = choose_input(options.verb), list_words(options.verb, options.ending)

    # The command and the nodes import the scorer of this file.
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    if options.local:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="prefboost-local-") as name:
            for verb in ("score", "judge", "select"):
                measure_growth(Path(name), verb, options.ending, (options.rows, options.more))
        return
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * MIB}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="prefboost-ray-") as name:
        folder = Path(name)
        try:
            for _ in range(options.nodes - 1):
                cluster.add_node(**node)
            raylets = [each.all_processes["raylet"][0].process.pid for each in cluster.list_all_nodes()]
            spread = [*words, "--executor", "ray", "--address", str(cluster.address), "--tasks", str(options.nodes)]
            write(folder / "in", options.rows)
            local = run(folder / "local", folder / "in", words)
            show("local", local, options.rows)
            many = run(folder / "ray", folder / "in", spread, raylets)
            show("ray", many, options.rows)
            outputs = [hash_files(folder / each) for each in ("local", "ray")]
            if outputs[0] != outputs[1]:
                raise SystemExit("the outputs differ")
            ratio = many.cpu / local.cpu
            print(f"the same bytes in {len(outputs[0])} files; CPU time, ray / local: {ratio:.2f}", flush=True)
            if options.more:
                write(folder / "more", options.more)
                show("ray", run(folder / "large", folder / "more", spread, raylets), options.more)
        finally:
            cluster.shutdown()


if __name__ == "__main__":
    main()
