"""Outputs at addresses are told from paths, and replace neither inputs nor files of others."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from tests.runs.ray.rows import read_output

from prefboost.errors import RunError
from prefboost.preferences.scales.kinds import Percentile
from prefboost.runs.augment.augment import augment
from prefboost.runs.augment.output import Output
from prefboost.runs.augment.settings import Augment
from prefboost.runs.folder import far_place
from prefboost.runs.folder.far_place import FarPlace
from prefboost.runs.folder.far_staging import FarStaging
from prefboost.runs.folder.output_place import OutputPlace
from prefboost.shelf import open_shelf


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"q{n // 2}", "completion": f"a{n}", "score": float(n % 9)} for n in range(12)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def place() -> str:
    return f"memory://{uuid.uuid4().hex}/x"


def test_the_place_decides_and_the_key_does_not_hold_it(source: Path, place: str, tmp_path: Path) -> None:
    here, far = (Output.at(out, Augment(), source) for out in (tmp_path / "goals", f"{place}/goals"))
    assert type(here.place) is OutputPlace and isinstance(far.place, FarPlace) and here.place.key == far.place.key
    assert far.rejects_path == f"{place}/goals/rejects.parquet"


@pytest.mark.parametrize("name", ["goals", "goals.jsonl"])
def test_a_finished_output_is_known_by_its_manifest_and_the_sizes_of_its_files(
    name: str, source: Path, place: str
) -> None:
    output = Output.at(f"{place}/{name}", Augment(), source)
    assert output.read_finished() is None and output.place.list_existing() == []
    report = augment(source, f"{place}/{name}", Augment())
    finished = output.read_finished()
    assert finished is not None and finished.skipped and finished.goal_pairs == report.goal_pairs
    assert output.place.beside("prefboost.json") in output.place.list_existing()
    data = next(name for name in output.place.read_manifest()["files"] if name.endswith((".parquet", ".jsonl")))
    shelf = open_shelf(place if output.single else f"{place}/{name}")
    shelf.write(data, b"shorter")
    assert output.read_finished() is None


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_what_others_wrote_and_what_is_read_stays_even_to_be_overwritten(
    scheme: str, source: Path, place: str, tmp_path: Path
) -> None:
    folder = place if scheme == "memory" else f"file://{tmp_path}"
    with fsspec.open(f"{folder}/mine.jsonl", "wb", auto_mkdir=True) as stream:
        stream.write(b"mine")
    outs = {"mine.jsonl": "was not made by prefboost", **({"scored.jsonl": "is the input"} if scheme == "file" else {})}
    before = source.read_bytes()
    for out, words in outs.items():
        with pytest.raises(RunError, match=words):
            augment(source, f"{folder}/{out}", Augment(), overwrite=True)
    with pytest.raises(RunError, match=r"is the input .*bench"):
        augment(source, f"{place}/bench.jsonl", Augment(decontaminate=(f"{place}/bench.jsonl",)), overwrite=True)
    with fsspec.open(f"{folder}/mine.jsonl", "rb") as stream:
        assert stream.read() == b"mine" and source.read_bytes() == before


@pytest.mark.parametrize("name", ["goals", "goals.jsonl"])
@pytest.mark.parametrize("moment", ["add_described", "fetch"])
def test_a_killed_command_resumes_after_the_parts_that_are_at_the_address(
    moment: str, name: str, source: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Augment(batch_rows=2, scale=Percentile())
    call = getattr(FarStaging, moment)

    def die(staging: FarStaging, *arguments: Any) -> Any:
        if len(staging.entries) >= 3:
            raise KeyboardInterrupt
        return call(staging, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FarStaging, moment, die)
        with pytest.raises(KeyboardInterrupt):
            augment(source, f"{place}/{name}", settings)
    assert open_shelf(f"{place}/.{name}.partial").exists("key.json")
    report = augment(source, f"{place}/{name}", settings)
    assert 3 <= report.parts_found <= report.parts and any("went on after" in each for each in report.messages)
    augment(source, tmp_path / "here" / name, settings)
    assert read_output(place) == read_output(tmp_path / "here"), "and nothing waits there any more"
    assert augment(source, f"{place}/{name}", settings).skipped


def test_a_hub_takes_whole_outputs_alone(
    source: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the memory were a hub: each of its files would be a commit.
    written: list[str] = []
    monkeypatch.setattr(far_place, "_COMMITS", "memory:")
    monkeypatch.setattr(FarStaging, "note", lambda *_: written.append("parts"))
    augment(source, f"{place}/goals", Augment())
    augment(source, tmp_path / "here" / "goals", Augment())
    assert not written and read_output(place) == read_output(tmp_path / "here")
