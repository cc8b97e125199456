"""The benchmark of synthetic pairs at a tiny size: every method, equal budgets, resumed and summed up."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from made_writer import Writer, by_hash
from tests.training.conftest import build_folder

import prefboost as pb

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "synthesis.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_of_synthesis", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_of_synthesis"] = module
    spec.loader.exec_module(module)
    return module


def pairs_file(folder: Path) -> Path:
    path = folder / "pairs.jsonl"
    rows = [
        {
            "prompt": f"q{n}",
            "chosen": f"yes {n}",
            "rejected": f"no {n % 4}",
            "split": "validation" if n % 4 == 0 else "train",
        }
        for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def near(prompt: str, sample: int) -> str:
    """Texts of different lengths that share most words, so that filters keep them."""
    return " ".join(by_hash("x", 0).split()[: 8 + sample] + by_hash(prompt, sample).split()[:3])


def test_every_method_gets_the_same_generations_and_all_is_summed_up(benchmark: Any, tmp_path: Path) -> None:
    start = str(build_folder(tmp_path / "start"))
    work = tmp_path / "work"
    train = {"max_steps": 1, "batch_size": 4}
    writer = Writer.by(near)
    plan = benchmark.Plan(writer, start, work, generations=12, real=4, held=5, seeds=1, max_tokens=8, train=train)
    table = benchmark.read_pairs(pairs_file(tmp_path), pb.Columns())
    found = benchmark.run(plan, table, lambda _: None)
    for name, (each, _) in plan.methods(0, start).items():
        assert found["cost"][name][0]["prompts"] == 12 // each, name
    assert found["held"] == 5 and {"real", "rmboost", "real+rmboost", "rlcd"} <= set(found["accuracy"])
    for at in found["accuracy"].values():
        assert 0 <= at["low"] <= at["estimate"] <= at["high"] <= 1
    assert any("rmboost" in line for line in benchmark.lines(found))
    asked = len(writer.asked)
    again = benchmark.run(plan, table, lambda _: None)
    assert again["accuracy"] == found["accuracy"] and len(writer.asked) == asked


def test_seeds_are_averaged_pair_by_pair(benchmark: Any) -> None:
    prompts = {"a": "q0", "b": "q1", "c": "q1"}
    found = benchmark.over_seeds([{"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 0.0}], prompts)
    assert found.estimate == 0.25 and found.rows == 2 and found.clusters == 2


def test_files_without_a_split_get_one_by_prompt(benchmark: Any, tmp_path: Path) -> None:
    table = benchmark.read_pairs(SCRIPT.parents[1] / "examples" / "scored.jsonl", pb.Columns())
    counts = dict(table.frame["split"].value_counts().iter_rows())
    assert counts["validation"] == 3 and counts["train"] == 9
