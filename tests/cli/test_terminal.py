"""Streams that cannot write every character, paths with ``~``, and ``-`` as an output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.cli.main import main
from prefboost.cli.terminal import escape_unprintable, expand_paths
from prefboost.errors import SettingsError


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    path = tmp_path / "scored.jsonl"
    rows = [{"prompt": f"q{n // 2} → ▁▂", "completion": f"größer 😀 {n}", "score": float(1 + n % 9)} for n in range(20)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("encoding", "arguments"),
    [
        ("cp1252", ["inspect"]),
        ("ascii", ["inspect"]),
        ("utf-8", ["inspect"]),
        ("cp1252", ["augment", "--dry-run", "--json"]),
        ("ascii", ["augment", "--dry-run"]),
        ("latin-1", ["augment", "--dry-run"]),
    ],
)
def test_no_terminal_is_too_poor(encoding: str, arguments: list[str], scored: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    verb, *options = arguments
    command = [sys.executable, "-m", "prefboost.cli.main", verb, str(scored), *options]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    if "--json" in options:
        assert "größer 😀" in json.dumps(json.loads(done.stdout.decode(encoding)), ensure_ascii=False)


@given(st.text(max_size=30))
def test_what_an_encoding_lacks_is_written_as_json_reads_it(text: str) -> None:
    escape_unprintable()
    printed = json.dumps(text, ensure_ascii=False).encode("ascii", "json_escapes")
    assert json.loads(printed) == text


def test_a_home_folder_is_found_without_a_shell(scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(scored.parent))
    monkeypatch.chdir(scored.parent)
    assert main(["augment", "~/scored.jsonl", "--out=~/out", "--quiet"]) == 0
    assert (scored.parent / "out" / "README.md").exists() and not (scored.parent / "~").exists()
    assert main(["select", "~/scored.jsonl", "kind=best_of_n", "-o", "~/best.jsonl"]) == 0
    assert (scored.parent / "best.jsonl").exists()


@pytest.mark.parametrize("verb", ["score", "generate"])
def test_standard_output_is_refused_by_name(verb: str, scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ["replay:x.jsonl"] if verb == "generate" else []
    assert main([verb, *first, str(scored), "-o", "-"]) == 2
    assert "cannot be written to standard output" in capsys.readouterr().err
    assert not Path("-").exists()


@pytest.mark.parametrize(
    "call", [["augment", "IN"], ["select", "IN", "kind=best_of_n"], ["augment", "IN", "--format=trl", "--json"]]
)
def test_a_verb_of_one_table_writes_json_lines_to_standard_output_and_its_report_to_stderr(
    call: list[str], scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [str(scored) if each == "IN" else each for each in call]
    assert main([*arguments, "-o", "file.jsonl"]) == 0
    capsys.readouterr()
    before = set(tmp_path.iterdir())
    assert main([*arguments, "-o", "-"]) == 0
    printed = capsys.readouterr()
    assert printed.out == Path("file.jsonl").read_text() and printed.out
    assert "standard output" in printed.err and set(tmp_path.iterdir()) == before


def test_other_options_stay_as_they_are() -> None:
    given_options = {"out": Path("./-/x"), "n": 3, "text": "~/x", "store": None, "of": Path("~nobody-here/x")}
    assert expand_paths(given_options) == given_options
    with pytest.raises(SettingsError):
        expand_paths({"out": Path("./-")} | {"out": Path("-")})
