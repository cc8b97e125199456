"""Run folders."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.errors import RunError
from prefboost.runs.folder.manifest import MANIFEST, hash_input, hash_path, hash_values, names_input, open_run

SETTINGS: dict[str, Any] = {"train": {"beta": 0.1, "model": "tiny"}, "name": "x"}


def test_the_manifest_says_how_to_do_it_again(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}")
    run = open_run(tmp_path / "run", "x", SETTINGS, [tmp_path / "in.jsonl"])
    manifest = json.loads((run.path / MANIFEST).read_text())
    assert manifest["settings"] == SETTINGS
    assert manifest["inputs"] == {str(tmp_path / "in.jsonl"): hash_path(tmp_path / "in.jsonl")}
    assert {"python", "polars"} <= manifest["versions"].keys()
    assert {"prefboost", "command", "started", "git"} <= manifest.keys()


def test_numbers_that_json_does_not_know_are_null(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "x", SETTINGS, [])
    run.manifest["stages"] = {"train": {"notes": {"loss": float("nan"), "ends": [float("inf"), 0.5]}}}
    run.save()
    manifest = json.loads((run.path / MANIFEST).read_text(), parse_constant=pytest.fail)
    assert manifest["stages"]["train"]["notes"] == {"loss": None, "ends": [None, 0.5]}


def test_a_stage_is_done_once_and_again_when_its_key_or_output_changes(tmp_path: Path) -> None:
    calls = []
    run = open_run(tmp_path / "run", "x", SETTINGS)

    def work() -> Mapping[str, Any]:
        calls.append(1)
        (run.path / "out.txt").write_text("done")
        return {"rows": 3}

    assert not run.is_done("data", "key")
    run.do("data", "key", ["out.txt"], work)
    again = open_run(tmp_path / "run", "x", SETTINGS)
    assert again.is_done("data", "key")
    assert again.notes("data") == {"rows": 3}
    assert not again.is_done("data", "other")
    (run.path / "out.txt").write_text("cut of")
    assert not again.is_done("data", "key")
    (run.path / "out.txt").unlink()
    assert not again.is_done("data", "key")


def test_a_stage_without_its_output_is_an_error(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", "x", SETTINGS)
    with pytest.raises(RunError, match=r"out\.txt"):
        run.do("data", "key", ["out.txt"], dict)
    assert not run.is_done("data", "key")


def test_another_run_in_the_folder_is_refused_with_the_settings_that_differ(tmp_path: Path) -> None:
    open_run(tmp_path / "run", "x", SETTINGS)
    with pytest.raises(RunError, match=r"train.beta was 0.1, is 0.2"):
        open_run(tmp_path / "run", "x", {**SETTINGS, "train": {"beta": 0.2, "model": "tiny"}})


def test_changed_input_data_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("one")
    open_run(tmp_path / "run", "x", SETTINGS, [tmp_path / "in"])
    (tmp_path / "in").write_text("two")
    with pytest.raises(RunError, match="other inputs"):
        open_run(tmp_path / "run", "x", SETTINGS, [tmp_path / "in"])


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        open_run(tmp_path, "x", SETTINGS)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_broken_manifest_is_an_error_with_its_path(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(RunError, match=MANIFEST):
        open_run(tmp_path, "x", SETTINGS)


def test_secrets_do_not_reach_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_TOKEN", "very-secret-value")
    settings = {"engine": {"api_key": "abc123456", "note": "very-secret-value"}}
    open_run(tmp_path / "run", "x", settings)
    text = (tmp_path / "run" / MANIFEST).read_text()
    assert "abc123456" not in text
    assert "very-secret-value" not in text
    open_run(tmp_path / "run", "x", settings)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        open_run(tmp_path / "run", "x", SETTINGS, [tmp_path / "nowhere"])


@pytest.mark.parametrize("pattern", ["", "/a.jsonl", "/*.jsonl", "/**/*.jsonl", "/m*/b.jsonl"])
@pytest.mark.parametrize("far", [False, True])
def test_an_input_is_told_by_what_its_name_stands_for(far: bool, pattern: str, tmp_path: Path) -> None:
    base = f"memory://{uuid.uuid4().hex}" if far else str(tmp_path)
    assert not names_input("organisation/name") and names_input(f"{base}{pattern}") == (far or not pattern)

    def hash_with(**texts: str) -> str:
        for name, text in texts.items():
            with fsspec.open(f"{base}/{name}.jsonl" if name == "a" else f"{base}/more/{name}.jsonl", "w") as stream:
                stream.write(text)
        assert names_input(f"{base}{pattern}")
        return hash_input(f"{base}{pattern}")

    (tmp_path / "more").mkdir()
    seen = [hash_with(a="1", b="1")]
    assert hash_input(f"{base}{pattern}") == seen[0]
    seen += [hash_with(a="2"), hash_with(b="22")]
    # A file that the name does not stand for changes nothing.
    assert len(set(seen)) == (2 if pattern in ("/a.jsonl", "/*.jsonl", "/m*/b.jsonl") else 3)


def test_fingerprints_of_folders_depend_on_names_and_bytes(tmp_path: Path) -> None:
    seen = set()
    for name, text in (("a", "1"), ("b", "1"), ("a", "2")):
        folder = tmp_path / f"{name}{text}"
        folder.mkdir()
        (folder / name).write_text(text)
        seen.add(hash_path(folder))
    assert len(seen) == 3


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_fingerprints_of_values_do_not_depend_on_order(values: dict[str, Any]) -> None:
    assert hash_values(values) == hash_values(dict(reversed(values.items())))
