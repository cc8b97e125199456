"""The benchmark of `augment` on a cluster: its input, its watch and its comparison."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl

from prefboost.runs.score.score import score
from prefboost.sources import read


def test_the_input_has_the_rows_that_were_asked_for_and_the_better_score_first(tmp_path: Path) -> None:
    import ray_augment

    ray_augment.write_input(tmp_path / "in", 300)
    ray_augment.write_input(tmp_path / "again", 300)
    frame = pl.read_parquet(tmp_path / "in")
    assert frame.height == frame["prompt"].n_unique() == 300
    assert (frame["score_chosen"] >= frame["score_rejected"]).all()
    assert ray_augment.hash_files(tmp_path / "in") == ray_augment.hash_files(tmp_path / "again")


def test_prompts_have_their_completions_side_by_side_and_each_gets_a_score_of_its_own(tmp_path: Path) -> None:
    import ray_augment

    ray_augment.write_completions(tmp_path / "in", 300)
    table = read(tmp_path / "in")
    assert len(table) == 300 and table.frame["prompt_id"].rle().struct.field("len").to_list() == [4] * 75
    scored = score(table, ray_augment.NodeScorer(batch_rows=7), tmp_path / "out.parquet")
    again = score(table, ray_augment.NodeScorer(), None)
    assert scored.frame["score"].n_unique() == 300 and scored.frame["score"].equals(again.frame["score"])
    assert set(ray_augment.hash_files(tmp_path)) >= {"out.parquet", "out.parquet.score.json"}
    assert not [name for name in ray_augment.hash_files(tmp_path) if ".store" in name]


def test_another_byte_or_another_file_is_another_output(tmp_path: Path) -> None:
    import ray_augment

    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "part").write_bytes(b"one")
    first = ray_augment.hash_files(tmp_path)
    (tmp_path / "a" / "part").write_bytes(b"two")
    second = ray_augment.hash_files(tmp_path)
    (tmp_path / "b").write_bytes(b"")
    assert first != second != ray_augment.hash_files(tmp_path)


def test_the_watch_sees_memory_and_time_of_the_processes_below_one() -> None:
    import ray_augment

    work = (
        "import sys; held = bytearray(64 << 20); held[::4096] = b'x' * len(held[::4096]); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        watch = ray_augment.NodeWatch([os.getpid()])
        watch.look()
        process.communicate("\n")
    assert watch.peaks[0] > 60 << 20
    assert sum(watch.seconds.values()) > 0
