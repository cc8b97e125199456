"""The registered reproductions: their data, and the whole path at a tiny size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from benchmark_scripts import load_benchmark
from tests.training.conftest import build_folder

from prefboost.cli.reproduce import read_reproduction, read_reward_reproduction


@pytest.fixture(scope="module")
def benchmark() -> Any:
    return load_benchmark("reproduction")


def test_every_plan_is_one_that_reproduce_reads(benchmark: Any, tmp_path: Path) -> None:
    for plan in benchmark.PLANS:
        words = benchmark.list_arguments(plan, tmp_path / "d.parquet", tmp_path / "o", ["seeds=[3]"], dry_run=True)
        assert words[0] == "reproduce" and words[-1] == "--dry-run"
        read = read_reward_reproduction if plan == "rmboost" else read_reproduction
        assert read(words[2 : words.index("-o")]).seeds == (3,)


def test_short_answers_are_drawn_alike_every_time_and_paired_best_with_worst(benchmark: Any, tmp_path: Path) -> None:
    lines = [
        {"prompt": f"question {at} {'long ' * 80 if at == 3 else ''}", "score": float(score),
         "completion": f"an answer of score {score} " + ("x" * 700 if score == 9 else "")}
        for at in range(4)
        for score in (1, 2, 4, 6, 6, 9)
    ]  # fmt: skip
    lines = [{**line, "completion": f"{line['completion']} {at}"} for at, line in enumerate(lines)]
    scored, out = tmp_path / "scored.jsonl", tmp_path / "data.parquet"
    scored.write_text("".join(json.dumps(line) + "\n" for line in lines))
    from prefboost.sources import read

    frame = read(str(scored)).frame
    short = benchmark.choose_short(frame, most_prompt=300, most_answer=600, answers=4)
    assert short["prompt_id"].n_unique() == 3 and len(short) == 12 and short["score"].max() == 6.0
    assert short.equals(benchmark.choose_short(frame.reverse(), most_prompt=300, most_answer=600, answers=4))
    pairs = benchmark.pair_up(short)
    texts = pairs.select(pl.col("chosen", "rejected").str.extract(r"score (\d)").cast(pl.Int64))
    assert (texts["chosen"] > texts["rejected"]).all() and pairs.columns[1:] == ["prompt", "chosen", "rejected"]
    with pytest.raises(SystemExit):
        benchmark.main(["judged", "--out", str(out)])


@pytest.mark.torch
def test_the_plan_for_a_cpu_runs_from_end_to_end_with_a_tiny_model(benchmark: Any, tmp_path: Path) -> None:
    out, model = tmp_path / "run", build_folder(tmp_path / "tiny")
    line = ["written", "--out", str(out), f"train.model={model}", "seeds=[1,2]", "steps=1", "most_prompts=12",
            "samples=1", "sampling.max_tokens=4", "train.precision=fp32", "test=0.1", "validation=0.5"]  # fmt: skip
    assert benchmark.main(line) == 0
    record = json.loads((out / "results.json").read_text())
    texts = [claim["text"] for claim in record["claims"]]
    assert "at the published beta 0.2 ra beats dpo with as many steps" in texts
    assert record["frontier"] is not None, "the KL of every arm is measured"
