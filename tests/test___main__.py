"""``python -m prefboost`` is the command line: same output, same exit codes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from prefboost import __version__


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--version"], 0, f"prefboost {__version__}"),
        (["augment", "absent.jsonl", "-o", "out"], 2, "error: absent.jsonl: no such file, folder or match"),
    ],
)
def test_the_module_runs_the_command_line_and_ends_with_its_exit_code(
    arguments: list[str],
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prefboost", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("prefboost", run_name="__main__")
    assert stop.value.code == code
    captured = capfd.readouterr()
    assert words in captured.out + captured.err
    assert not list(tmp_path.iterdir())
