"""Rows in several layouts, settings to go with them, and comparison of outputs byte by byte."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
from ray import cloudpickle

from prefboost.runs.augment.settings import Augment


class SpreadHere:
    """A spread over no cluster, in a random order; what it is given is sent as Ray would send it."""

    tasks = 2

    def __call__(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        work, items = cloudpickle.loads(cloudpickle.dumps((work, list(items))))
        yield from map(work, random.Random(0).sample(list(items), len(items)))


def build_rows(count: int, prompts: int, *, ids: bool = False, scattered: float = 0.3) -> list[dict[str, Any]]:
    """Scored completions: some prompts stand apart, some repeat, some ids disagree with their prompts."""
    rng = random.Random(count)
    rows = []
    for number in range(count):
        prompt = number * prompts // count
        row = {
            "prompt": f"Question {prompt % (prompts - 2)}?",
            "completion": f"answer {number}" if rng.random() < 0.9 else "the same",
            "score": rng.choice([1, 2, 3, 5, 7.5, 10]),
        }
        rows.append({**row, "prompt_id": f"q{prompt}", "completion_id": f"c{rng.randrange(count)}"} if ids else row)
    for _ in range(int(count * scattered)):
        one, other = rng.randrange(count), rng.randrange(count)
        rows[one], rows[other] = rows[other], rows[one]
    return rows


def build_cases(folder: Path) -> dict[str, tuple[Path, Augment]]:
    """Write inputs; case -> input and settings."""
    few = Augment(batch_rows=7)
    plain, with_ids = build_rows(60, 15), build_rows(60, 15, ids=True)
    ordered = build_rows(60, 15, scattered=0)
    long = build_rows(60, 4, scattered=0)

    def write_lines(name: str, rows: list[dict[str, Any]]) -> Path:
        path = folder / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    broken = write_lines("broken.jsonl", ordered)
    broken.write_text(broken.read_text().replace("\n", "\n{broken\n\n", 1))
    packed = folder / "packed.jsonl.gz"
    packed.write_bytes(gzip.compress(write_lines("plain.jsonl", plain).read_bytes()))
    pl.DataFrame(plain).write_parquet(folder / "groups.parquet", row_group_size=17)
    many = folder / "many"
    many.mkdir()
    for number in range(3):
        pl.DataFrame(with_ids[number * 20 :][:20]).write_parquet(many / f"train-{number}.parquet")
    sides = [
        {"prompt": f"p{n % 9}", "chosen": f"good {n}", "rejected": f"bad {n}", "score_chosen": 5 + n % 4,
         "score_rejected": 1 + n % 3}
        for n in range(50)
    ]  # fmt: skip
    pairs = write_lines("pairs.jsonl", sides)
    return {
        "scattered": (folder / "plain.jsonl", few),
        "broken lines": (broken, few),
        "long prompts": (write_lines("long.jsonl", long), Augment(batch_rows=4)),
        "ids and splits": (write_lines("ids.jsonl", with_ids), Augment(batch_rows=7, test_share=0.4)),
        "prompts once": (folder / "ids.jsonl", Augment(batch_rows=7, select={"dedupe": "prompt"})),
        "rows once": (
            write_lines("twice.jsonl", plain + plain),
            Augment(batch_rows=6, select={}),
        ),
        "fitted": (packed, Augment(batch_rows=7, scale={"kind": "percentile"})),
        "row groups": (folder / "groups.parquet", Augment(batch_rows=9, file_type="jsonl")),
        "one part": (folder / "groups.parquet", Augment()),
        "several files": (many, Augment(batch_rows=9)),
        "pairs": (pairs, few),
        "capped pairs": (pairs, Augment(batch_rows=7, pair={"kind": "all_pairs", "cap": 2})),
    }


def read_output(folder: Path | str) -> dict[str, bytes]:
    """Read every file below a folder, or below an address."""
    if isinstance(folder, str):
        system, root = fsspec.core.url_to_fs(folder)
        system.invalidate_cache()
        return {name.removeprefix(root).lstrip("/"): system.cat_file(name) for name in system.find(root)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
