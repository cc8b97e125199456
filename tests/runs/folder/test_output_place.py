"""The place of an output: what stands there, what may be replaced, and what its manifest says of the files."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import polars as pl
import pytest

from prefboost.errors import DataError, RunError, SettingsError
from prefboost.runs.folder.output_place import (
    MANIFEST,
    OutputPlace,
    decide_file_type,
    divide_by_split,
    explain_write_faults,
    name_part_files,
    write_manifest,
)
from prefboost.runs.folder.staging import Staging, open_staging


@pytest.mark.parametrize(
    ("name", "asked", "ending", "single"),
    [("out", None, "parquet", False), ("out", "jsonl", "jsonl", False), ("a.jsonl.gz", None, "jsonl.gz", True)],
)
def test_the_name_decides_between_a_folder_and_a_file(
    name: str, asked: str | None, ending: str, single: bool, tmp_path: Path
) -> None:
    path, kind, is_single = decide_file_type(tmp_path / name, asked)
    assert (path, kind.ending, is_single) == (tmp_path / name, ending, single)


def test_types_that_are_not_written_or_contradict_the_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"ends in \.csv"):
        decide_file_type(tmp_path / "out.csv", None)
    with pytest.raises(SettingsError, match="file_type is jsonl"):
        decide_file_type(tmp_path / "out.parquet", "jsonl")


def publish(place: OutputPlace, rows: bytes = b"rows") -> None:
    with place.open_staging() as staging:
        part = staging.path / "000000.train"
        part.write_bytes(rows)
        staging.add(0, {"data train": part}, {})
        publish_parts(place, staging)
    place.clear()


def publish_parts(place: OutputPlace, staging: Staging) -> None:
    def write_final(final: Path) -> dict[str, Path]:
        moved = name_part_files(staging, "parquet")["train"]
        (final / "README.md").write_text("card")
        write_manifest(place, final, staging, moved, {"settings": {"beta": 1}, "report": {"rows": 1}})
        return moved

    place.publish(staging, write_final)


def test_the_manifest_has_the_checksum_of_every_file_and_finds_the_output_again(tmp_path: Path) -> None:
    place = OutputPlace("select", tmp_path / "out", single=False, key="k")
    assert place.read_report() is None
    publish(place)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    contents = {name: (tmp_path / "out" / name).read_bytes() for name in manifest["files"]}
    assert sorted(contents) == ["README.md", "data/train-00000-of-00001.parquet"]
    assert manifest["crc32"] == {name: zlib.crc32(content) for name, content in contents.items()}
    assert place.read_report() == {"rows": 1} and not list(tmp_path.glob(".out*"))
    (tmp_path / "out" / "README.md").write_text("another")
    assert place.read_report() is None


def test_only_an_output_of_the_same_verb_is_replaced(tmp_path: Path) -> None:
    place = OutputPlace("select", tmp_path / "out", single=False, key="k")
    publish(place)
    other = OutputPlace("augment", tmp_path / "out", single=False, key="k")
    with pytest.raises(RunError, match="replaces only what prefboost augment wrote"):
        other.refuse_existing({"beta": 1}, {}, overwrite=True)
    with pytest.raises(RunError, match="made with other settings: beta"):
        place.refuse_existing({"beta": 2}, {}, overwrite=False)
    place.refuse_existing({"beta": 2}, {}, overwrite=True)
    (tmp_path / "out" / "data" / "mine.parquet").write_text("mine")
    with pytest.raises(RunError, match=r"data/mine\.parquet was not written by prefboost select"):
        place.refuse_existing({"beta": 2}, {}, overwrite=True)


def test_splits_get_names_that_files_can_have() -> None:
    frame = pl.DataFrame({"row": [0, 1, 2], "split": ["Test Prefs", None, "Test Prefs"]})
    assert {name: rows["row"].to_list() for name, rows in divide_by_split(frame)} == {
        "test_prefs": [0, 2],
        "train": [1],
    }
    assert [name for name, _ in divide_by_split(frame.drop("split"))] == ["train"]


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    place = OutputPlace("select", tmp_path / "out", single=False, key="k")
    with pytest.raises(RunError, match=r"the disk is full(.|\n)*\.out\.partial"), explain_write_faults(place):
        raise OSError(28, "No space left on device")
    with open_staging(tmp_path / "out", "k"), pytest.raises(RunError, match="another process"), place.open_staging():
        pass
