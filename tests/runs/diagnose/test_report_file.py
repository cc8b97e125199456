"""Reports are known by their own mark: they are replaced, other files are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefboost.errors import DataError, RunError
from prefboost.runs.diagnose.report_file import guard_report, write_report


def test_a_report_may_be_written_again_and_other_files_may_not(tmp_path: Path) -> None:
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    guard_report(own, [])
    write_report(own, "unlearning", {"completions": 3})
    guard_report(own, [])
    assert json.loads(own.read_text()) == {"diagnosis": "unlearning", "completions": 3}
    for text in ("{}", "[1]", "not JSON", "3"):
        other.write_text(text)
        with pytest.raises(RunError, match="did not write it"):
            guard_report(other, [])
        assert other.read_text() == text


def test_the_report_is_no_input_and_ends_in_json(tmp_path: Path) -> None:
    source = tmp_path / "scored.json"
    write_report(source, "unlearning", {})
    with pytest.raises(RunError, match="the output is the input"):
        guard_report(source, [source])
    with pytest.raises(DataError, match="JSON"):
        guard_report(tmp_path / "report.txt", [])
