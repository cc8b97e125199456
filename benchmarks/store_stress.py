"""Stores under stress: many processes fill one store while some of them are killed at random, and all is counted after.

    python benchmarks/store_stress.py [--rows 200000] [--processes 8] [--kills 40] [--store segments:] [--folder DIR]

Every process claims rows in an order of its own, keeps answers that nobody else could give, and notes each row that the
store has acknowledged. In the end every acknowledged row must be there, with the answer that was acknowledged, and no
row may be there twice. Rows that two processes computed are counted: a store without locks allows them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from prefboost.engines.store.interface import StoreQuery
from prefboost.engines.store.opening import open_store

CHUNK = 16
"""Rows that are claimed at once, as verbs do."""

REOPENED_AFTER = 5_000
"""Rows after which a process closes its store and opens it again, so that segments are put together meanwhile."""


NOTE_BYTES = 170
"""Of a note, about: tells how far the work is."""


@dataclass(frozen=True)
class Outcome:
    """What was found in the end.

    Args:
        rows: in the store.
        acknowledged: rows that a process was told are kept.
        lost: of these, rows that are missing.
        changed: of these, rows with another answer than was acknowledged.
        doubled: rows that stand twice in `rows()`.
        computed_twice: rows that were computed by more than one process.
        killed: processes that were killed.
        seconds: all of it.
    """

    rows: int
    acknowledged: int
    lost: int
    changed: int
    doubled: int
    computed_twice: int
    killed: int
    seconds: float


def query(number: int) -> StoreQuery:
    return StoreQuery("generate", {"engine": "stress", "prompt": f"question {number}", "sample": number})


def fill(store: str, notes: str, rows: int, seed: int) -> None:
    """Work until every row is done: what one of the processes does."""
    queries = [query(number) for number in range(rows)]
    numbers = {each.key: number for number, each in enumerate(queries)}
    # Every process begins elsewhere, so that they meet often and yet do not wait for each other.
    start = random.Random(seed).randrange(rows)
    missing = [*queries[start:], *queries[:start]]
    with Path(notes).open("a", encoding="utf-8") as stream:
        while missing:
            kept = 0
            held: list[StoreQuery] = []
            with open_store(store) as opened:
                # As verbs begin: what others have done meanwhile is not claimed one by one.
                done = opened.find_answers(each.key for each in missing)
                missing = [each for each in missing if each.key not in done]
                while missing and kept < REOPENED_AFTER:
                    if (parent := multiprocessing.parent_process()) is not None and not parent.is_alive():
                        # Nobody would end this process any more.
                        return
                    chunk, missing = missing[:CHUNK], missing[CHUNK:]
                    claim = opened.claim(chunk)
                    held += [each for each in chunk if each.key in set(claim.held)]
                    granted = [each for each in chunk if each.key in set(claim.granted)]
                    if granted:
                        answers = [(each, {"text": f"{os.getpid()} {each.key}" * 4}) for each in granted]
                        stored = opened.finish(answers)
                        # Only what the store has acknowledged is noted; a kill in between loses the note alone.
                        lines = [json.dumps([numbers[each.key], stored[each.key]]) for each in granted]
                        stream.write("".join(f"{line}\n" for line in lines))
                        stream.flush()
                        kept += len(granted)
            missing += held
            if held and not kept:
                time.sleep(0.05)


def stress(store: str, folder: Path, *, rows: int, processes: int, kills: int, seed: int = 0) -> Outcome:
    """Fill a store by several processes, kill some of them at random, and count.

    Args:
        store: its place.
        folder: for the notes of the processes.
        rows: how many.
        processes: at work at one time.
        kills: processes that are killed; another one takes the place of each.
        seed: of the kills.
    """
    draw, began, numbers = random.Random(seed), time.monotonic(), iter(range(10**6))

    # Processes are forked from one that has imported everything and has no threads.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([Path(__file__).stem])

    def start() -> multiprocessing.process.BaseProcess:
        number = next(numbers)
        process = context.Process(target=fill, args=(store, str(folder / f"notes-{number}"), rows, number))
        process.start()
        return process

    working = [start() for _ in range(processes)]
    killed = 0
    while working:
        # Kills are spread over the work: one for every share of the rows that is done.
        done = sum(path.stat().st_size for path in folder.glob("notes-*")) / NOTE_BYTES
        if killed < kills and done > rows * (killed + draw.random()) / (kills + 1):
            victim = draw.choice(working)
            victim.kill()
            victim.join()
            working[working.index(victim)] = start()
            killed += 1
        for process in list(working):
            if process.exitcode is not None:
                if process.exitcode:
                    for each in working:
                        each.kill()
                    raise RuntimeError(f"a process ended with {process.exitcode}")
                working.remove(process)
        time.sleep(0.2)
    return _count(store, folder, killed, time.monotonic() - began)


def _count(store: str, folder: Path, killed: int, seconds: float) -> Outcome:
    acknowledged: dict[str, object] = {}
    times: Counter[str] = Counter()
    changed: set[str] = set()
    for path in folder.glob("notes-*"):
        # A killed process leaves half a line at most.
        for line in path.read_bytes().split(b"\n")[:-1]:
            number, answer = json.loads(line)
            key = query(number).key
            times[key] += 1
            if acknowledged.setdefault(key, answer) != answer:
                changed.add(key)
    with open_store(store, read_only=True) as opened:
        stored = [(row.key, row.stored) for row in opened.rows()]
    answers = dict(stored)
    changed |= {key for key, answer in acknowledged.items() if key in answers and answers[key] != answer}
    return Outcome(
        rows=len(answers),
        acknowledged=len(acknowledged),
        lost=len(acknowledged.keys() - answers.keys()),
        changed=len(changed),
        doubled=len(stored) - len(answers),
        computed_twice=sum(count > 1 for count in times.values()),
        killed=killed,
        seconds=round(seconds, 1),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--store", default="segments:", help="segments: or sqlite")
    parser.add_argument("--folder", type=Path, help="where the store is made; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = f"segments:{folder}/store" if options.store == "segments:" else f"{folder}/store"
        outcome = stress(place, Path(folder), rows=options.rows, processes=options.processes, kills=options.kills)
        files = [path for path in Path(folder, "store").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
    facts = {"files": len(files), "megabytes": round(size / 1e6, 1)}
    print(json.dumps({"store": options.store, **asdict(outcome), **facts}))
    return bool(outcome.lost or outcome.doubled or outcome.rows != options.rows)


if __name__ == "__main__":
    sys.exit(main())
