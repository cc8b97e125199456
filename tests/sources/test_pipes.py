"""Inputs that can be read only once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from prefboost.cli.main import main
from prefboost.errors import UnreadableFile
from prefboost.sources import read
from prefboost.sources.pipes import refuse_pipe


@pytest.mark.parametrize("verb", [["inspect"], ["augment", "-o", "out"], ["select", "kind=best_of_n", "-o", "x.jsonl"]])
@pytest.mark.parametrize("path", ["-", "/dev/stdin", "/dev/fd/63"])
def test_streams_are_refused_by_name(
    verb: list[str], path: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([verb[0], path, *verb[1:]]) == 2
    said = capsys.readouterr().err
    assert "a pipe can be read only once" in said and "write it to a file first" in said


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UnreadableFile, match="a pipe can be read only once"):
        read(tmp_path / "pipe.jsonl")


def test_files_and_what_is_not_there_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-").write_text("{}")
    for path in ("-", str(tmp_path), str(tmp_path / "gone"), "someone/data", "x" * 5000):
        refuse_pipe(path)
