"""`augment` end to end: what is written, that nothing is lost, and that a kill at any moment changes nothing."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import DataError, RunError, SettingsError
from prefboost.preferences import BestVsWorst, MinMax, RewardAugmented
from prefboost.preferences.select import Select
from prefboost.runs.augment import Augment, augment, preview
from prefboost.runs.augment_settings import AugmentProgress
from prefboost.sources import File


def scored(path: Path, prompts: int = 40, **changed: Any) -> Path:
    """Scored completions of made-up prompts; prompt 3 is a tie, prompt 5 has an impossible score."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as stream:
        for number in range(prompts):
            scores = draw.sample([1.0, 2.5, 4.0, 7.0, 8.5, 10.0], 3)
            scores = [6.0] * 3 if number == 3 else [99.0, 98.0, 97.0] if number == 5 else scores
            completions = [{"response": f"answer {n} to {number}", "overall_score": s} for n, s in enumerate(scores)]
            row = {"prompt_id": f"q{number}", "instruction": f"Question {number}?", "completions": completions}
            stream.write(json.dumps({**row, **changed}) + "\n")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_holds_data_card_manifest_and_rejects(tmp_path: Path) -> None:
    report = augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == [
        "README.md",
        "data/train-00000-of-00001.parquet",
        "prefboost.json",
        "rejects.parquet",
    ]
    data = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert data.height == report.goal_pairs == 2 * report.pairs == 76
    assert data["goal"].is_between(1, 10).all()
    rejects = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert rejects.height == sum(each.count for each in report.rejects)
    assert not list(tmp_path.glob(".out*"))


def test_every_goal_pair_has_its_twin_with_the_label_flipped(tmp_path: Path) -> None:
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    data = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    first, second = data.gather_every(2), data.gather_every(2, 1)
    assert first["pair_id"].equals(second["pair_id"])
    assert first["chosen"].equals(second["rejected"], check_names=False)
    assert first["rejected"].equals(second["chosen"], check_names=False)
    said = data["prompt"].list.first().struct.field("content").str.extract(r"Overall score: ([0-9.]*[0-9])\.$")
    assert said.cast(pl.Float64).equals(data["goal"], check_names=False)


def test_the_hub_loader_takes_the_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out", Augment(format="trl", test_share=0.3, batch_rows=10))
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    assert loaded["train"].num_rows + loaded["test"].num_rows == 76
    assert not set(loaded["train"]["prompt_id"]) & set(loaded["test"]["prompt_id"])


def test_parts_do_not_change_what_comes_out(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "whole")
    augment(source, tmp_path / "parts", Augment(batch_rows=7))
    assert len(list((tmp_path / "parts" / "data").iterdir())) > 4
    whole, parts = (pl.read_parquet(tmp_path / name / "data" / "*.parquet") for name in ("whole", "parts"))
    assert whole.sort("goal_pair_id").equals(parts.sort("goal_pair_id"))
    rejects = [pl.read_parquet(tmp_path / name / "rejects.parquet").sort("row", "id") for name in ("whole", "parts")]
    assert rejects[0].equals(rejects[1])


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "jsonl.gz", "jsonl.zst"])
def test_a_single_file_has_its_card_manifest_and_rejects_beside_it(ending: str, tmp_path: Path) -> None:
    source, out = scored(tmp_path / "in.jsonl"), tmp_path / "new" / f"out.{ending}"
    out.parent.mkdir()
    report = augment(source, out, Augment(batch_rows=7))
    names = {f"{out.name}{tail}" for tail in ("", ".card.md", ".prefboost.json", ".rejects.parquet")}
    assert {path.name for path in out.parent.iterdir()} == names
    assert report.goal_pairs == 76
    if ending == "parquet":
        augment(source, tmp_path / "folder", Augment(batch_rows=7))
        assert pl.read_parquet(out).equals(pl.read_parquet(tmp_path / "folder" / "data" / "*.parquet"))


def test_without_rejects_a_single_file_has_none_beside_it(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl", prompts=2)
    report = augment(source, tmp_path / "out.jsonl")
    assert report.rejects_path is None
    assert not list(tmp_path.glob("*.rejects.parquet"))


def test_the_same_command_again_finds_it_done(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    first = augment(source, tmp_path / "out")
    before = contents(tmp_path / "out")
    again = augment(source, tmp_path / "out")
    assert again.skipped
    assert not first.skipped
    assert again.rejects == first.rejects
    assert contents(tmp_path / "out") == before


def test_an_output_of_other_settings_is_refused_until_told_to_overwrite(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    other = Augment(pair=BestVsWorst(), test_share=0.2)
    with pytest.raises(RunError, match="made with other settings: pair, test_share"):
        augment(source, tmp_path / "out", other)
    augment(source, tmp_path / "out", other, overwrite=True)
    assert "best_vs_worst" in (tmp_path / "out" / "README.md").read_text()
    assert not list(tmp_path.glob(".out*"))


def test_a_changed_input_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "out")
    scored(source, prompts=41)
    with pytest.raises(RunError, match="another input or version"):
        augment(source, tmp_path / "out")


def test_files_of_someone_else_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by prefboost augment"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out")
    assert contents(tmp_path / "out") == {"thesis.txt": b"mine"}


def test_the_input_cannot_be_the_output(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    with pytest.raises(RunError, match="the output is the input"):
        augment(source, source, overwrite=True)


def test_a_file_type_that_is_not_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.csv"):
        augment(scored(tmp_path / "in.jsonl"), tmp_path / "out.csv")
    with pytest.raises(SettingsError, match="no room for a test split"):
        augment(tmp_path / "in.jsonl", tmp_path / "out.jsonl", Augment(test_share=0.1))


def test_nothing_left_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no goal pair came out.*outside the declared range"):
        augment(
            scored(tmp_path / "in.jsonl", 4),
            tmp_path / "out",
            Augment(scale={"kind": "declared", "low": 200, "high": 300}),
        )


def test_a_fitted_scale_is_stored_and_its_ends_are_said(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    report = augment(source, tmp_path / "out", Augment(scale=MinMax(low=0, high=5), batch_rows=9))
    manifest = json.loads((tmp_path / "out" / "prefboost.json").read_text())
    assert manifest["scales"][""]["knots"] == [1.0, 99.0]
    assert manifest["scales"][""]["values"] == [0.0, 5.0]
    assert "fitted as min_max" in report.scale
    prompt = pl.read_parquet(tmp_path / "out" / "data" / "*.parquet")["prompt"][0][0]["content"]
    assert "on a scale of 0-5" in prompt


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


def test_a_source_with_settings_of_its_own_is_taken(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    assert augment(File(path=str(source)), tmp_path / "out").pairs == 38


def test_progress_counts_up_to_all_records(tmp_path: Path) -> None:
    seen: list[AugmentProgress] = []
    augment(scored(tmp_path / "in.jsonl"), tmp_path / "out", Augment(batch_rows=10), progress=seen.append)
    records = [each.records for each in seen]
    assert len(records) > 4
    assert records == sorted(records)
    assert records[-1] == 40
    assert seen[-1].goal_pairs == 76


def test_half_augmentation_and_bad_rows_are_counted_in_card_and_report(tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    with source.open("a") as stream:
        stream.write('{"broken\n{"instruction": "no completions", "completions": []}\n')
    report = augment(source, tmp_path / "out", Augment(relabel=RewardAugmented(fraction=0.5)))
    aside = pl.read_parquet(tmp_path / "out" / "rejects.parquet")
    assert aside.filter(pl.col("stage") == "read").height >= 2
    card = (tmp_path / "out" / "README.md").read_text()
    for reject in report.rejects:
        assert f"| {reject.stage} | {reject.reason} | {reject.count:,} |" in card


def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    seen = preview(scored(tmp_path / "in.jsonl"), rows=3)
    assert len(seen.rows) == 3
    assert seen.report.guess["score"] == "overall_score"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_full_disk_leaves_the_finished_parts_and_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scored(tmp_path / "in.jsonl")
    augment(source, tmp_path / "right" / "out", Augment(batch_rows=7))
    whole, written = pl.DataFrame.write_parquet, []

    def until_full(frame: pl.DataFrame, path: Path, **options: Any) -> None:
        if len(written) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        whole(frame, path, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", until_full)
    with pytest.raises(RunError, match=r"the disk is full(.|\n)*same command again(.|\n)*\.out\.partial"):
        augment(source, tmp_path / "out", Augment(batch_rows=7))
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    report = augment(source, tmp_path / "out", Augment(batch_rows=7))
    assert report.parts_found > 0
    assert contents(tmp_path / "out") == contents(tmp_path / "right" / "out")


DRIVER = """
import sys, time
import polars as pl
from prefboost.runs import augment as module
from prefboost.runs.augment import Augment, augment

write = module._write_part
def slowly(*arguments):
    time.sleep(0.03)
    write(*arguments)
    time.sleep(0.03)
module._write_part = slowly
report = augment(sys.argv[1], sys.argv[2], Augment(batch_rows=3, test_share=0.3))
print(report.parts_found)
"""


@pytest.mark.parametrize("name", ["out", "out.parquet", "out.jsonl"])
def test_killed_at_random_moments_the_same_command_ends_with_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = scored(tmp_path / "in.jsonl")
    driver = DRIVER if name == "out" else DRIVER.replace(", test_share=0.3", "")
    (tmp_path / "right").mkdir()
    subprocess.run([sys.executable, "-c", driver, source, tmp_path / "right" / name], check=True, capture_output=True)
    (tmp_path / "killed").mkdir()
    out, draw, kills = tmp_path / "killed" / name, random.Random(name), 0
    for _ in range(30):
        child = subprocess.Popen(
            [sys.executable, "-c", driver, source, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        if kills < 4:
            _wait_for_parts(child, out, more=draw.randrange(1, 4))
            time.sleep(draw.random() * 0.05)
            os.kill(child.pid, signal.SIGKILL)
        shown, errors = child.communicate()
        kills += child.returncode == -signal.SIGKILL
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL, errors
    assert kills >= 3
    assert int(shown) > 0
    killed, right = contents(tmp_path / "killed"), contents(tmp_path / "right")
    assert killed.keys() == right.keys()
    for path, data in right.items():
        assert killed[path] == data, path


def _wait_for_parts(child: subprocess.Popen[str], out: Path, more: int) -> None:
    """Until the journal has grown by some parts, so that kills fall into the work and not into the imports."""
    journal = out.with_name(f".{out.name}.partial") / "journal.jsonl"
    at_first = _lines(journal)
    while child.poll() is None and _lines(journal) < max(1, at_first) + more:
        time.sleep(0.005)


def _lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0
