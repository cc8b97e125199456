"""Parts at an address: found again by the same key, thrown away by another, and never taken for whole when damaged."""

from __future__ import annotations

import uuid
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from prefboost.errors import RunError
from prefboost.runs.folder.far_staging import (
    FarStaging,
    fetch_part,
    list_damaged_parts,
    open_far_staging,
    read_finished_parts,
)
from prefboost.runs.folder.staging import describe_file
from prefboost.shelf import open_shelf


@pytest.fixture
def place() -> Path:
    return Path(f"memory://{uuid.uuid4().hex}/.out.partial")


def add_part(staging: FarStaging, number: int) -> None:
    path = staging.path / f"{number:06d}.train"
    path.write_bytes(b"rows" * (number + 1))
    staging.add(number, {"data train": path}, {"made": number})
    assert not path.exists(), "the disk of this machine holds one part at a time"


def reopen(place: Path, key: str = "k") -> AbstractContextManager[FarStaging]:
    return open_far_staging(place, key)


def test_parts_notes_and_files_of_the_same_key_are_found_again(place: Path, tmp_path: Path) -> None:
    with reopen(place) as staging:
        for number in (1, 0, 12):
            add_part(staging, number)
        staging.note("said", {"goals": [1]})
    with reopen(place) as staging:
        assert (
            sorted(staging.entries) == [0, 1, 12] and staging.resumed_parts == 3 and staging.entries[12]["made"] == 12
        )
        assert staging.read_note("said") == {"goals": [1]} and staging.read_note("other") is None
        assert [path.name for path in staging.files("data train")] == ["000000.train", "000001.train", "000012.train"]
        assert [path.read_bytes() for path in staging.fetch("data train")] == [b"rows" * n for n in (1, 2, 13)]
        assert staging.fetch("rejects") == [] and staging.place == place
        staging.discard()
        assert not staging.entries
    with reopen(place) as staging:
        assert staging.resumed_parts == 0 and staging.read_note("said") is not None


def test_parts_of_another_key_are_thrown_away_and_counted(place: Path) -> None:
    with reopen(place) as staging:
        add_part(staging, 0)
        open_shelf(place / "between").write("plan", b"x")
    with reopen(place, "other") as staging:
        assert (staging.deleted_parts, staging.resumed_parts) == (1, 0)
        assert set(open_shelf(place).find_files("")) == {"key.json"}


def test_files_of_others_are_not_thrown_away(place: Path) -> None:
    open_shelf(place).write("mine.txt", b"mine")
    with pytest.raises(RunError, match="did not write"), reopen(place):
        pass
    assert open_shelf(place).read("mine.txt") == b"mine"


def test_a_failure_before_the_first_part_leaves_nothing(place: Path) -> None:
    with pytest.raises(RunError, match="no rows"), reopen(place):
        raise RunError("no rows", remedy="give some")
    assert not open_shelf(place).find_files("")


def test_a_part_of_another_size_is_made_again_and_one_of_another_checksum_refused(place: Path, tmp_path: Path) -> None:
    with reopen(place) as staging:
        add_part(staging, 0)
        add_part(staging, 1)
        assert read_finished_parts(place) == (None, {}), "unfinished"
        staging.seal()
        described = staging.entries[0]["files"]
    shelf = open_shelf(place)
    assert sorted(read_finished_parts(place)[1]) == [0, 1] and not list_damaged_parts(place, described)
    shelf.write("000000.train", b"damage")
    assert sorted(read_finished_parts(place)[1]) == [1] and list_damaged_parts(place, described) == ["000000.train"]
    shelf.write("000000.train", b"ROWS")
    assert sorted(read_finished_parts(place)[1]) == [0, 1]
    with pytest.raises(RunError, match="its checksum differs"):
        fetch_part(shelf, described["data train"], tmp_path, place)
    shelf.remove("000000.train")
    assert list_damaged_parts(place, described) == ["000000.train"]


def test_on_this_machine_the_same_questions_go_to_the_disk(tmp_path: Path) -> None:
    (tmp_path / "000000.train").write_bytes(b"rows")
    described = {"data": describe_file(tmp_path / "000000.train")}
    assert list_damaged_parts(tmp_path, described) == [] and read_finished_parts(tmp_path) == (None, {})
    (tmp_path / "000000.train").write_bytes(b"ROWS")
    assert list_damaged_parts(tmp_path, described) == ["000000.train"]
