"""Hub ids and saved folders, without a network."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from prefboost.cli.main import main
from prefboost.errors import DataError, UnreadableFile, UnreadData
from prefboost.sources import File, read, read_batches
from prefboost.sources.readers.hub import is_hub_id

datasets = pytest.importorskip("datasets")

RECORDS = {"prompt": ["p", "p", "q"], "completion": ["a", "b", "c"], "score": [1.0, 2.0, 3.0]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def load_dataset(path: str, config: str | None, **options: Any) -> Any:
        seen.update(path=path, config=config, **options)
        data = datasets.Dataset.from_dict(RECORDS)
        return datasets.DatasetDict({"train": data.to_iterable_dataset() if options["streaming"] else data})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return seen


@pytest.mark.parametrize("streaming", [False, True])
def test_a_hub_id_is_loaded_with_its_revision_and_config(asked: dict[str, Any], streaming: bool) -> None:
    source = File(path="org/name", revision="abc", config="main", streaming=streaming)
    assert read(source).frame["score"].to_list() == [1, 2, 3]
    assert asked == {"path": "org/name", "config": "main", "revision": "abc", "streaming": streaming}
    assert [len(batch) for batch in read_batches(source, rows=2)] == [2, 1]


def test_a_split_that_does_not_exist_is_refused_with_those_that_do(asked: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="no split 'test'; found train"):
        read(File(path="org/name", split="test"))


def test_a_failing_hub_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: Any, **__: Any) -> Any:
        raise ConnectionError("no route to host\nmore")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UnreadableFile, match="org/name: the hub does not give this data set: no route to host"):
        read("org/name")


def test_saved_folders_are_read_with_and_without_splits(tmp_path: Path) -> None:
    data = datasets.Dataset.from_dict(RECORDS)
    data.save_to_disk(tmp_path / "plain")
    datasets.DatasetDict({"train": data, "test": data.select([0])}).save_to_disk(tmp_path / "split")
    assert len(read(tmp_path / "plain")) == 3
    assert len(read(tmp_path / "split")) == 3
    assert len(read(File(path=str(tmp_path / "split"), split="test"))) == 1


def test_only_names_of_two_parts_are_hub_ids() -> None:
    assert is_hub_id("openbmb/UltraFeedback")
    assert not any(map(is_hub_id, ("./a/b", "/a/b", "a/b/c", "a", "a/../b")))


def test_splits_that_are_not_read_are_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"prompt": ["a", "b"], "completion": ["good", "fine"], "score": [2.0, 8.0]}
    several = {"train": columns, "test": columns, "extra": columns}
    made = datasets.DatasetDict({name: datasets.Dataset.from_dict(each) for name, each in several.items()})
    made.save_to_disk(str(tmp_path / "saved"))
    with pytest.warns(UnreadData, match=r"only the split train is read, not test \(2 rows\), extra \(2 rows\)"):
        assert len(read(tmp_path / "saved")) == 2
    select = ["select", str(tmp_path / "saved"), "kind=best_of_n", "-o", str(tmp_path / "best.jsonl")]
    assert main(select) == 0
    assert capsys.readouterr().err.count("warning: ") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnreadData)
        assert len(read(File(path=str(tmp_path / "saved"), split="test"))) == 2
