from __future__ import annotations

import json
from pathlib import Path

import pytest
from tables_of import scored_table

from prefboost.diagnosis import inspect
from prefboost.diagnosis.streams import open_stream
from prefboost.errors import UnreadableFile
from prefboost.sources import Columns
from prefboost.sources.readers.split_files import find_split_word


def pairs(path: Path, numbers: range) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"question {n}", "chosen": f"good {n}", "rejected": f"bad {n}"} for n in numbers]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "split"),
    [("data/train-00000-of-00002.parquet", "train"), ("test.jsonl", "test"), ("my_val_v2.csv", "validation"),
     ("train_prefs/dev.jsonl", "validation"), ("contest.jsonl", None), ("trained.jsonl", None), ("x.jsonl", None)],
)  # fmt: skip
def test_splits_are_told_by_whole_words(name: str, split: str | None) -> None:
    assert find_split_word(Path(name)) == split


def test_files_named_after_splits_are_read_split_by_split(tmp_path: Path) -> None:
    pairs(tmp_path / "train-0.jsonl", range(6))
    pairs(tmp_path / "test-0.jsonl", range(4, 8))
    for source in (tmp_path, f"{tmp_path}/*.jsonl"):
        tables = list(open_stream(source, Columns())())
        assert sorted(table.frame["split"][0] for table in tables) == ["test", "train"]
        (result,) = [finding for finding in inspect(source).findings if finding.name == "split_overlap"]
        assert result.count == 4
        assert {Path(example.path).name for example in result.examples} == {"test-0.jsonl", "train-0.jsonl"}


def test_files_of_one_split_are_one_source(tmp_path: Path) -> None:
    pairs(tmp_path / "train-0.jsonl", range(3))
    pairs(tmp_path / "train-1.jsonl", range(3))
    result = inspect(tmp_path)
    assert [finding.name for finding in result.findings if finding.severity == "error"] == []
    assert result.rows == 6


def test_every_split_of_a_saved_data_set_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {name: [f"{name} {n}" for n in range(3)] for name in ("chosen", "rejected")}
    both = {"train": {"prompt": ["a", "b", "c"], **rows}, "test": {"prompt": ["c", "d", "e"], **rows}}
    built = datasets.DatasetDict({name: datasets.Dataset.from_dict(columns) for name, columns in both.items()})
    built.save_to_disk(str(tmp_path / "saved"))
    result = inspect(tmp_path / "saved")
    assert (result.rows, result.records) == (6, 6)
    assert [finding.count for finding in result.findings if finding.name == "split_overlap"] == [2]


def test_a_broken_list_of_splits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text("{", encoding="utf-8")
    with pytest.raises(UnreadableFile, match=r"dataset_dict\.json"):
        open_stream(tmp_path, Columns())


def test_a_table_is_a_stream_of_itself() -> None:
    table = scored_table([("a", [1.0])])
    stream = open_stream(table, Columns())
    assert [*stream(), *stream()] == [table, table]
