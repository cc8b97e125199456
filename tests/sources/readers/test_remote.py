"""Addresses of fsspec: read and written on the memory and local file systems."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest

from prefboost.addresses import find_address
from prefboost.cli.main import main
from prefboost.errors import DataError, RunError, UnreadableFile
from prefboost.sources import Columns, File, read
from prefboost.sources.readers.remote import fetch_file, fetch_input, find_version, put_output
from prefboost.sources.write import write

RECORDS = [{"prompt": f"q{n // 2}", "completion": f"answer {n}", "score": float(n % 2 * 5 + 1)} for n in range(8)]
ROWS = "".join(json.dumps(record) + "\n" for record in RECORDS)


@pytest.fixture(params=["memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder of its own in a remote file system."""
    return f"memory://{uuid.uuid4().hex}" if request.param == "memory" else f"file://{tmp_path / 'far'}"


def put_text(address: str, text: str) -> None:
    with fsspec.open(address, "w", auto_mkdir=True) as stream:
        stream.write(text)


def test_a_remote_file_is_read_like_a_local_one(place: str) -> None:
    put_text(f"{place}/rows.jsonl", ROWS)
    table = read(f"{place}/rows.jsonl")
    assert table.frame["score"].to_list() == [1.0, 6.0] * 4
    put_text(f"{place}/broken.jsonl", ROWS + "{\n")
    assert read(f"{place}/broken.jsonl").rejects.height == 1


def test_augment_reads_and_writes_remotely_and_replaces_only_when_told(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_text(f"{place}/rows.jsonl", ROWS)
    (tmp_path / "rows.jsonl").write_text(ROWS)
    for out in ("pairs.jsonl", "folder"):
        assert main(["augment", f"{place}/rows.jsonl", "-o", f"{place}/{out}"]) == 0
        assert main(["augment", f"{place}/rows.jsonl", "-o", f"{place}/{out}"]) == 0
        assert "nothing to do" in capsys.readouterr().out
        assert main(["augment", f"{place}/rows.jsonl", "seed=1", "-o", f"{place}/{out}"]) == 2
        assert "the output exists: it was made with other settings: seed" in capsys.readouterr().err
        card = find_address(f"{place}/{out}" + (".card.md" if out == "pairs.jsonl" else "/README.md")) or ""
        before = fetch_file(card).read_text()
        assert main(["augment", f"{place}/rows.jsonl", "seed=1", "-o", f"{place}/{out}", "--overwrite"]) == 0
        assert fetch_file(card).read_text() != before, "what was fetched before is fetched again"
        assert main(["augment", f"{place}/rows.jsonl", "-o", f"{place}/{out}", "--overwrite"]) == 0
    assert main(["augment", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "here.jsonl")]) == 0
    with fsspec.open(f"{place}/pairs.jsonl", "rb") as stream:
        assert stream.read() == (tmp_path / "here.jsonl").read_bytes()
    system, path = fsspec.core.url_to_fs(place)
    names = {name.rpartition(path.strip("/") + "/")[2] for name in system.find(path)}
    assert {"pairs.jsonl.card.md", "pairs.jsonl.prefboost.json", "folder/README.md"} <= names


def test_nothing_of_others_and_no_input_is_replaced_at_an_address(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put_text(f"{place}/in/rows.jsonl", ROWS)
    for out, words in ((f"{place}/in", "or contains it"), (f"{place}/in/rows.jsonl", "is the input")):
        assert main(["augment", f"{place}/in/rows.jsonl", "-o", out, "--overwrite"]) == 2
        assert words in capsys.readouterr().err
    put_text(f"{place}/other/thesis.txt", "mine")
    assert main(["augment", f"{place}/in/rows.jsonl", "-o", f"{place}/other", "--overwrite"]) == 2
    assert "not made by prefboost augment" in capsys.readouterr().err
    assert main(["augment", f"{place}/in/rows.jsonl", "-o", f"{place}/folder"]) == 0
    put_text(f"{place}/folder/thesis.txt", "mine")
    assert main(["augment", f"{place}/in/rows.jsonl", "-o", f"{place}/folder", "--overwrite"]) == 0
    for kept in ("other/thesis.txt", "folder/thesis.txt"):
        with fsspec.open(f"{place}/{kept}", "r") as stream:
            assert stream.read() == "mine"
    assert read(f"{place}/in/rows.jsonl").frame.height == 8


def test_a_table_is_written_whole_or_refused(place: str, goal_table: Callable[..., Any]) -> None:
    table, out = goal_table(2), f"{place}/goals.parquet"
    write(table, out, format="trl")
    with pytest.raises(RunError, match="the output exists"):
        write(table, out)
    write(table, out, overwrite=True)
    assert fetch_file(find_address(out) or "").stat().st_size > 0


def test_a_folder_or_pattern_at_an_address_is_read_as_one_of_this_machine_is(place: str, tmp_path: Path) -> None:
    lines = ROWS.splitlines(keepends=True)
    parts = {"part-0.jsonl": lines[:3], "part-1.jsonl": [*lines[3:], "no json\n"], "more/part-2.jsonl": lines[:1]}
    others = {"notes.txt": ["x"], ".hidden/part-9.jsonl": lines[:1], "_aside.jsonl": lines[:1]}
    for name, part in {**parts, **others}.items():
        put_text(f"{place}/in/{name}", "".join(part))
        local = tmp_path / "here" / name
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_text("".join(part))
    for pattern in ("", "/", "/*.jsonl", "/part-1*", "/**/part-*.jsonl", "/_*.jsonl"):
        far, here = read(f"{place}/in{pattern}"), read(f"{tmp_path}/here{pattern}")
        assert far.frame.equals(here.frame), pattern
        named = far.rejects.with_columns(pl.col("path", "found").str.replace(r"^.*/in/", f"{tmp_path}/here/"))
        assert named.to_dicts() == here.rejects.to_dicts(), pattern
    assert find_version(f"{place}/in")[0] == sum(len("".join(part)) for part in parts.values())
    before = find_version(f"{place}/in/*.jsonl")
    put_text(f"{place}/in/part-0.jsonl", "".join(lines[:4]))
    assert find_version(f"{place}/in/*.jsonl") != before
    with pytest.raises(UnreadableFile, match="no file there has a known ending"):
        read(f"{place}/in/nothing-*.jsonl")


CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train_prefs, path: [a/*.jsonl, b/one.jsonl]}
  - {split: test_prefs, path: b/two.jsonl}
- {config_name: other, data_dir: b, data_files: "*.jsonl"}
---
"""


@pytest.mark.parametrize("in_place", [False, True])
def test_the_data_card_of_a_folder_at_an_address_decides_as_one_of_this_machine_does(
    in_place: bool, place: str, tmp_path: Path
) -> None:
    for name in ("a/x", "b/one", "b/two", "left_out"):
        for base in (f"{place}/c", str(tmp_path / "here")):
            put_text(f"{base}/{name}.jsonl", ROWS.replace("answer", name))
            put_text(f"{base}/README.md", CARD)

    def list_rows(path: str, **settings: Any) -> list[dict[str, Any]]:
        reader = File(path=path, **settings).open_source(Columns(), in_place=in_place).reader
        return [row for batch in reader.batches(None, None) for frame in batch.frames for row in frame.to_dicts()]

    cases = [("", {}), ("", {"split": "test"}), ("", {"config": "other"}), ("/*.jsonl", {}), ("/**/*.jsonl", {})]
    for pattern, settings in cases:
        far, here = (list_rows(f"{base}{pattern}", **settings) for base in (f"{place}/c", f"{tmp_path}/here"))
        assert far == here and far, (pattern, settings)
    with pytest.raises(DataError, match="declares the configurations default, other, not 'third'") as error:
        list_rows(f"{place}/c", config="third")
    assert str(error.value).startswith(f"{place}/c/README.md")


def test_a_file_at_an_address_is_asked_once_whether_it_is_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    put_text("memory://once/rows.jsonl", ROWS)
    system, asked = fsspec.filesystem("memory"), []
    is_folder = type(system).isdir
    monkeypatch.setattr(type(system), "isdir", lambda self, path: asked.append(path) or is_folder(self, path))
    fetched = fetch_input("memory://once/rows.jsonl")
    assert fetched.read_text() == ROWS
    # fsspec itself asks again before it copies.
    assert len(asked) <= 2


def test_faults_of_a_file_in_a_folder_name_its_address(place: str) -> None:
    put_text(f"{place}/in/a.jsonl", ROWS)
    put_text(f"{place}/in/b.jsonl", "")
    with pytest.raises(UnreadableFile, match=re.escape(f"{place}/in/b.jsonl: the file is empty")):
        read(f"{place}/in")
    put_text(f"{place}/mixed/a.jsonl", ROWS)
    put_text(f"{place}/mixed/b.csv", "prompt,chosen,rejected\na,b,c\n")
    with pytest.raises(DataError, match="files of several formats") as several:
        read(f"{place}/mixed")
    assert f"name one, e.g. {place}/mixed/*.csv" in str(several.value)


def test_an_output_that_the_next_run_would_read_is_refused(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    put_text(f"{place}/in/rows.jsonl", ROWS)
    for source, out in (("in", "in/goals"), ("in/", "in/goals.jsonl"), ("in/*.jsonl", "in/goals.jsonl")):
        assert main(["augment", f"{place}/{source}", "-o", f"{place}/{out}"]) == 2
        assert "the next run would read it as data" in capsys.readouterr().err
    for out in ("in/goals.parquet", "in/goals", "elsewhere/goals.jsonl"):
        assert main(["augment", f"{place}/in/*.jsonl", "-o", f"{place}/{out}", "--quiet"]) == 0


def test_what_is_not_there_is_named_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"memory://nowhere/x\.jsonl: the file cannot be fetched"):
        read("memory://nowhere/x.jsonl")
    with pytest.raises(RunError, match="cannot be written there"):
        put_output(tmp_path, "what://bucket/x", overwrite=False)
