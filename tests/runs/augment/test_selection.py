"""Selection over a stream of batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from prefboost.preferences.select import Select, select, split
from prefboost.runs.augment.augment import Augment, augment
from prefboost.runs.augment.selection import Selection
from prefboost.sources import read, read_batches


def test_duplicates_and_benchmark_prompts_are_left_out_over_all_batches(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"Tell me about number {n % 6} in full",
            "chosen": "a",
            "rejected": "b",
            "score_chosen": 8,
            "score_rejected": 2,
        }
        for n in range(12)
    ]
    source, benchmark = tmp_path / "in.jsonl", tmp_path / "benchmark.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    benchmark.write_text(json.dumps({"prompt": "Tell me about number 4 in full"}) + "\n")
    settings = Augment(select=Select(ngram=5), decontaminate=(str(benchmark),), batch_rows=4)
    report = augment(source, tmp_path / "out", settings)
    assert {each.reason: each.count for each in report.rejects} == {
        "the same prompt and completions were seen before": 6,
        "the prompt shares words with a benchmark's": 1,
    }
    assert report.goal_pairs == 10


def test_the_test_split_is_that_of_select(tmp_path: Path, scored: Callable[..., Any]) -> None:
    table = read(scored(tmp_path / "in.jsonl"))
    marked = Selection(Augment(test_share=0.3, seed=7)).apply(table).frame
    _, aside = split(table, 0.3, seed=7)
    assert marked.filter(pl.col("split") == "test")["completion_id"].equals(aside.frame["completion_id"])
    assert 0 < aside.frame.height < marked.height


def test_prompts_that_differ_in_their_system_message_alone_share_a_split(tmp_path: Path) -> None:
    rows = [
        {"system": f"Style {style}.", "prompt": f"Question {n}?", "completion": "a", "score": 1}
        for n in range(30)
        for style in range(4)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    marked = Selection(Augment(test_share=0.5)).apply(read(source)).frame
    sides = marked.with_columns(asked=pl.col("prompt").list.last().struct.field("content")).group_by("asked")
    assert sides.agg(pl.col("split").n_unique())["split"].max() == 1


def test_without_settings_nothing_is_left_out(tmp_path: Path, scored: Callable[..., Any]) -> None:
    table = read(scored(tmp_path / "in.jsonl"))
    assert Selection(Augment()).apply(table) is table


def test_a_prompt_under_a_second_id_is_left_out_over_all_batches(tmp_path: Path) -> None:
    rows = [
        {"prompt_id": f"{n % 4}", "prompt": f"Tell me about number {n % 2}", "completion": f"a {n}", "score": n % 3}
        for n in range(12)
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = select(read(source), Select(dedupe="prompt"))
    for size in (None, 3, 5):
        selection = Selection(Augment(select=Select(dedupe="prompt")))
        tables = [selection.apply(batch) for batch in read_batches(source, rows=size)]
        kept = pl.concat([table.frame["completion_id"] for table in tables])
        assert sorted(kept) == sorted(whole.frame["completion_id"])
        reasons = pl.concat([table.rejects["reason"] for table in tables])
        assert reasons.unique().to_list() == ["the same prompt was seen before under another id"]
