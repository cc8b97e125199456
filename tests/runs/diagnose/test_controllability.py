"""The report on control by goals is written, and no other file is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.diagnosis.test_controllability import build_table

from prefboost.diagnosis.controllability import DiagnoseControllability
from prefboost.errors import RunError
from prefboost.runs.diagnose.controllability import diagnose_controllability


def test_the_report_is_written_as_it_is_returned(tmp_path: Path) -> None:
    table, out = build_table(lambda goal, _: (goal, 5), prompts=4), tmp_path / "report.json"
    report = diagnose_controllability(table, DiagnoseControllability(), out)
    assert json.loads(out.read_text()) == {"diagnosis": "controllability", **json.loads(json.dumps(report.record()))}
    assert diagnose_controllability(table, DiagnoseControllability()).record() == report.record()
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(RunError, match="did not write it"):
        diagnose_controllability(table, DiagnoseControllability(), tmp_path / "mine.json")
