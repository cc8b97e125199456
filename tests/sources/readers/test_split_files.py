"""Which file belongs to which split, by data cards and by names; and what becomes of the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prefboost as pb
from prefboost.cli.main import main
from prefboost.errors import DataError
from prefboost.sources import File, read
from prefboost.sources.readers.split_files import (
    choose_split,
    find_split_word,
    list_card_files,
    list_files,
    list_split_values,
)


def write_rows(path: Path, prefix: str, count: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"prompt": f"{prefix} {n}", "completion": f"answer {n} {score}", "score": score}
        for n in range(count)
        for score in (2.0, 8.0)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def splits_of(source: Any, **settings: Any) -> dict[str | None, int]:
    frame = read(File(path=str(source), **settings)).frame
    names = frame["split"].to_list() if "split" in frame.columns else [None] * frame.height
    return {name: names.count(name) for name in dict.fromkeys(names)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, count in (("train-00000-of-00002", 3), ("train-00001-of-00002", 2), ("test-00000-of-00001", 1)):
        write_rows(tmp_path / "d" / "data" / f"{name}.jsonl", name, count)
    return tmp_path / "d"


@pytest.mark.parametrize(
    ("name", "split"),
    [("test_gen.parquet", "test"), ("my-evaluation.csv", "test"), ("a/dev/1.jsonl", "validation"),
     ("training.json", "train"), ("contest.jsonl", None), ("evaluator.jsonl", None), ("latest.csv", None)],
)  # fmt: skip
def test_splits_are_told_by_whole_words(name: str, split: str | None) -> None:
    assert find_split_word(Path(name)) == split


@pytest.mark.parametrize("shown", ["{}", "{}/data", "{}/data/*.jsonl", "{}/**/*.jsonl"])
def test_rows_keep_the_split_that_their_file_is_named_after(folder: Path, shown: str) -> None:
    source = shown.format(folder)
    assert splits_of(source) == {"test": 2, "train": 10}
    assert splits_of(source, split="test") == {None: 2}
    assert splits_of(source, split="train") == {None: 10}


def test_files_of_one_split_or_of_none_get_no_column(tmp_path: Path) -> None:
    write_rows(tmp_path / "train-0.jsonl", "a", 2)
    assert splits_of(tmp_path) == {None: 4}
    assert splits_of(tmp_path, split="train") == {None: 4}
    with pytest.raises(DataError, match="no column names the split of a row"):
        read(File(path=str(tmp_path), split="test"))
    write_rows(tmp_path / "more.jsonl", "b", 1)
    assert splits_of(tmp_path) == {None: 6}
    write_rows(tmp_path / "test.jsonl", "c", 1)
    assert splits_of(tmp_path) == {"train": 6, "test": 2}


def test_a_split_that_the_rows_name_themselves_stays(tmp_path: Path) -> None:
    for name in ("train", "test"):
        rows = [{"prompt": name, "completion": "x", "score": 1.0, "split": "validation"}]
        (tmp_path / f"{name}.jsonl").write_text("".join(map(json.dumps, rows)))
    assert splits_of(tmp_path) == {"validation": 2}


def test_what_is_augmented_keeps_test_rows_out_of_training(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["augment", str(folder), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert "test 2, train 10" in capsys.readouterr().out


CARD = """---
configs:
- config_name: default
  data_files:
  - split: train_prefs
    path: [a/*.jsonl, b/one.jsonl]
  - split: test_prefs
    path: b/two.jsonl
- config_name: other
  data_dir: b
  data_files: "*.jsonl"
---
# Data
"""


@pytest.fixture
def carded(tmp_path: Path) -> Path:
    for name in ("a/x", "b/one", "b/two", "left_out"):
        write_rows(tmp_path / "c" / f"{name}.jsonl", name, 1)
    (tmp_path / "c" / "README.md").write_text(CARD)
    return tmp_path / "c"


def test_a_data_card_says_which_files_and_splits(carded: Path) -> None:
    assert splits_of(carded) == {"train": 4, "test": 2}
    assert splits_of(carded, split="test_prefs") == splits_of(carded, split="test") == {None: 2}
    assert splits_of(carded, config="other") == {None: 4}
    with pytest.raises(DataError, match="declares the configurations default, other, not 'third'"):
        read(File(path=str(carded), config="third"))


def test_a_card_with_several_configurations_and_no_default_asks_for_one(carded: Path) -> None:
    (carded / "README.md").write_text(CARD.replace("default", "first"))
    with pytest.raises(DataError, match="first, other"):
        read(File(path=str(carded)))
    assert splits_of(carded, config="first") == {"train": 4, "test": 2}


@pytest.mark.parametrize(
    "card",
    ["", "# No front matter", "---\nconfigs: 3\n---\n", "---\n: [\n---\n", "---\nconfigs:\n- data_files: gone/*\n---\n",
     "---\nconfigs:\n- data_files:\n  - split: train\n    path: /etc/*\n---\n"],
)  # fmt: skip
def test_a_card_that_names_no_file_here_is_passed_over(card: str, folder: Path) -> None:
    (folder / "README.md").write_text(card)
    assert list_card_files(folder, None) is None
    assert splits_of(folder) == {"test": 2, "train": 10}


def test_what_augment_writes_is_a_folder_whose_card_leaves_rejects_out(folder: Path, tmp_path: Path) -> None:
    assert main(["augment", str(folder), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    listed = list_files(str(tmp_path / "out"))
    assert listed is not None
    assert {path.name[:5]: split for path, split in listed.items()} == {"train": "train", "test-": "test"}


@given(st.lists(st.sampled_from([None, "train", "test", "validation", "test_prefs"]), max_size=6))
def test_every_file_is_of_exactly_one_split(splits: list[str | None]) -> None:
    values = list_split_values(splits)
    if values is None:
        assert len({"train" if split is None else split.removesuffix("_prefs") for split in splits}) < 2
        return
    for wanted in set(values):
        chosen = choose_split([split or "train" for split in splits], wanted)
        exact = [split == wanted for split in splits]
        assert chosen is not None and all(value == wanted for value, kept in zip(values, chosen, strict=True) if kept)
        assert chosen == exact or wanted != "test" or sum(chosen) > 0


def test_training_evaluates_on_test_files(folder: Path) -> None:
    pairs = pb.relabel(pb.pair(pb.read(str(folder)), pb.BestVsWorst()), pb.RewardAugmented())
    assert pairs.frame["split"].value_counts(sort=True).rows() == [("train", 10), ("test", 2)]
