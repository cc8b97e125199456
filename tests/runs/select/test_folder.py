"""A selection in a folder: files with checksums, a card, and what stays in the place of others."""

from __future__ import annotations

import json
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import RunError
from prefboost.preferences.score_selection import BestOfN, ScoreAtLeast
from prefboost.runs.folder.staging import Staging
from prefboost.runs.select.folder import SelectFolder
from prefboost.runs.select.select import select_completions, select_source
from prefboost.runs.select.settings import SelectCompletions
from prefboost.runs.select.shards import merge_selection, select_shard
from prefboost.runs.shards import Shard
from prefboost.sources import read
from prefboost.sources.stored import read_stored

HOW = SelectCompletions(strategy=BestOfN(), file_records=4, format="prefboost")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": f"q{n // 2}", "completion": f"a{n}", "score": float(n % 9), "split": "test" if n > 9 else "train"}
        for n in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_folder_has_files_of_each_split_rejects_a_card_and_checksums(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    counts = select_source(str(source), HOW, out)
    manifest = json.loads((out / "prefboost.json").read_text())
    data = [name for name in manifest["files"] if name.startswith("data/")]
    train = [f"data/train-0000{number}-of-00003.parquet" for number in range(3)]
    assert data == ["data/test-00000-of-00001.parquet", *train]
    for name, size in manifest["files"].items():
        content = (out / name).read_bytes()
        assert len(content) == size and zlib.crc32(content) == manifest["crc32"][name]
    assert manifest["report"] == counts and counts["kept"] == 6
    assert pl.read_parquet(out / "rejects.parquet").height == sum(counts["rejected"].values()) == 6
    again = read(str(out))
    assert len(again) == 6 and set(again.frame["split"]) == {"train", "test"}


def test_the_same_command_reads_nothing_and_another_one_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    counts = select_source(str(source), HOW, out)
    with monkeypatch.context() as patch:
        patch.setattr("prefboost.runs.select.select.read_stored", None)
        assert select_source(str(source), HOW, out) == {**counts, "skipped": True}
    other = HOW.model_copy(update={"strategy": ScoreAtLeast(score=7)})
    with pytest.raises(RunError, match="made with other settings: strategy"):
        select_source(str(source), other, out)
    (out / "mine.txt").write_text("mine")
    assert select_source(str(source), other, out, overwrite=True)["kept"] != counts["kept"]
    assert (out / "mine.txt").read_text() == "mine" and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_rows_that_wait_on_disk_and_merged_shards_give_the_same_files(
    rows: int, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = select_source(str(source), HOW, tmp_path / "whole" / "out")
    for module in ("select", "shards"):
        monkeypatch.setattr(f"prefboost.runs.select.{module}.read_stored", partial(read_stored, rows=rows))
    # Pieces whose ends are not those of the ranges of four records.
    monkeypatch.setattr("prefboost.runs.select.shards._PIECE_RECORDS", rows)
    assert select_source(str(source), HOW, tmp_path / "stored" / "out") == whole
    shards = [Shard(index, 3) for index in range(3)]
    merged = tmp_path / "merged" / "out"
    for shard in shards:
        select_shard(str(source), HOW, merged, shard)
    assert merge_selection([shard.locate(merged) for shard in shards], HOW, merged) == whole
    files = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / name / "out" for name in ("whole", "stored", "merged"))
    ]
    assert files[0] == files[1] == files[2]


def test_folders_of_others_and_inputs_stay(source: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not made by prefboost select"):
        select_source(str(source), HOW, tmp_path / "theirs", overwrite=True)
    with pytest.raises(RunError, match="contains the input"):
        select_source(str(source), HOW, tmp_path, overwrite=True)
    assert [path.name for path in (tmp_path / "theirs").iterdir()] == ["thesis.txt"] and source.exists()


def test_a_killed_command_writes_only_what_is_missing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = select_source(str(source), HOW, tmp_path / "whole" / "out")
    add, added = Staging.add_described, []

    def die(staging: Staging, number: int, *arguments: Any) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        add(staging, number, *arguments)
        added.append(number)

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "add_described", die)
        with pytest.raises(KeyboardInterrupt):
            select_source(str(source), HOW, tmp_path / "out")
    assert not (tmp_path / "out").exists() and added == [0, 1]
    with monkeypatch.context() as patch:
        added.clear()
        patch.setattr(Staging, "add_described", lambda *each: (added.append(each[1]), add(*each)))
        assert select_source(str(source), HOW, tmp_path / "out") == whole and added == [2]
    ours, theirs = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "out", tmp_path / "whole" / "out")
    )
    assert ours == theirs


def test_a_table_is_known_by_its_content(source: Path, tmp_path: Path) -> None:
    table = read(str(source))
    select_completions(table, HOW, tmp_path / "out")
    folder = SelectFolder.at(tmp_path / "out", HOW, table)
    assert folder is not None and folder.read_finished() is not None
    other = SelectFolder.at(tmp_path / "out", HOW, table.derive(table.spec, table.frame.head(3), table.steps[0]))
    assert other is not None and other.read_finished() is None
    assert SelectFolder.at(tmp_path / "out.jsonl", HOW, table) is None
