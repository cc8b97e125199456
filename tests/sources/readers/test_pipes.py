"""Inputs that can be read only once are read whole, once, and then like files."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from prefboost.errors import UnreadableFile
from prefboost.sources import read
from prefboost.sources.readers.files import JsonReader
from prefboost.sources.readers.pipes import SpooledReader, is_stream, spool_stream

ROWS = [{"prompt": f"q{n // 2}?", "completion": f"answer {n}", "score": n % 2 + 3} for n in range(6)]
LINES = "\n".join(map(json.dumps, ROWS)).encode()


def contents(folder: Path) -> dict[str, bytes]:
    frame = pl.DataFrame(ROWS)
    frame.write_parquet(folder / "in.parquet")
    frame.write_ipc(folder / "in.arrow")
    frame.write_csv(folder / "in.csv")
    frame.write_csv(folder / "in.tsv", separator="\t")
    (folder / "in.jsonl").write_bytes(LINES)
    (folder / "in.json").write_text(json.dumps(ROWS, indent=1))
    (folder / "in.jsonl.gz").write_bytes(gzip.compress(LINES))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def feed(path: Path, content: bytes) -> Path:
    """A named pipe that gives its bytes once."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(content,), daemon=True).start()
    return path


def test_every_format_is_read_from_a_named_pipe_as_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "pipes").mkdir()
    for name, content in contents(tmp_path / "files").items():
        table = read(feed(tmp_path / "pipes" / name.partition(".")[2].replace(".", "-"), content))
        plain = read(tmp_path / "files" / name)
        assert table.frame.equals(plain.frame)
        assert table.path.startswith(str(tmp_path / "pipes"))


def run_cli(words: list[str], stdin: bytes, folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "prefboost.cli.main", *words]
    return subprocess.run(command, input=stdin, capture_output=True, cwd=folder, check=False)


def test_augment_takes_standard_input_and_knows_it_again_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    first = run_cli(["augment", "-", "-o", "out", "--quiet"], LINES, tmp_path)
    assert first.returncode == 0, first.stderr
    assert run_cli(["augment", "in.jsonl", "-o", "same", "--quiet"], b"", tmp_path).returncode == 0
    rows, same = (pl.read_parquet(tmp_path / name / "data" / "*.parquet") for name in ("out", "same"))
    assert rows.height == 6 and rows.equals(same)
    assert "prefboost augment - -o out" in (tmp_path / "out" / "README.md").read_text()
    assert b"nothing to do" in run_cli(["augment", "-", "-o", "out", "--quiet"], LINES, tmp_path).stdout
    other = run_cli(["augment", "-", "-o", "out", "--quiet"], LINES.replace(b"answer", b"reply"), tmp_path)
    assert other.returncode == 2 and b"the output exists: it was made of another input" in other.stderr


def test_rejects_and_errors_name_the_stream_as_the_user_did(tmp_path: Path) -> None:
    pipe = feed(tmp_path / "pipe", LINES + b"\n{broken")
    rejects = read(pipe).rejects
    assert rejects["path"].to_list() == [str(pipe)] and rejects["found"][0].startswith(f"{pipe}:7: ")
    with pytest.raises(UnreadableFile, match=rf"^{pipe}2: .*the file holds one object of columns"):
        read(feed(tmp_path / "pipe2", b'{"prompt": ["a", "b"], "completion": ["c", "d"], "score": [1, 2]}'))


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", r"the stream is empty \(0 bytes\)"), (b"words alone", "the bytes are neither Parquet, Arrow, JSON nor CSV")],
)
def test_streams_without_rows_are_refused(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=said):
        read(feed(tmp_path / "pipe", content))


def test_devices_that_never_end_are_not_read(capsys: Any) -> None:
    with pytest.raises(UnreadableFile, match="a terminal or a device"):
        read("/dev/zero")


def test_standard_input_that_is_closed_is_named(tmp_path: Path) -> None:
    command = f"{sys.executable} -m prefboost.cli.main inspect - <&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 2 and b"there is nothing to read from" in done.stderr


def test_process_substitution_is_read(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    command = f"{sys.executable} -m prefboost.cli.main inspect <(cat in.jsonl)"
    done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and b"6 records, 3 prompts" in done.stdout, done.stderr


def test_files_and_what_is_not_there_are_no_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("{}")
    for path in ("-", str(tmp_path), str(tmp_path / "gone"), "someone/data", "x" * 5000):
        assert spool_stream(path) is None


def test_a_spooled_reader_gives_the_records_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "stream.jsonl").write_bytes(LINES)
    reader = SpooledReader("-", JsonReader(str(tmp_path / "stream.jsonl")))
    assert [batch.records for batch in reader.batches(None, 4)] == [4, 2]


def test_streams_are_told_from_files_without_being_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    assert is_stream("-") and is_stream("/dev/fd/63") and is_stream(str(tmp_path / "pipe"))
    assert not is_stream(str(tmp_path / "rows.jsonl")) and not is_stream(str(tmp_path)) and not is_stream("org/name")
