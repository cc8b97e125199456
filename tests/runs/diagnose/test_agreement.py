"""The report on agreement is written, and a second call computes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.diagnosis.test_agreement import TEXTS, scored_table
from tests.scoring.conftest import policies  # noqa: F401 - a fixture

from prefboost.diagnosis.agreement import DiagnoseAgreement
from prefboost.errors import RunError
from prefboost.runs.diagnose.agreement import diagnose_agreement
from prefboost.sources.write import write

pytestmark = pytest.mark.torch


def test_it_resumes_and_tells_unseen_prompts_by_the_file_of_the_training(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, out = tmp_path / "train.parquet", tmp_path / "agreement.json"
    write(scored_table(TEXTS[:3]), train)
    settings = DiagnoseAgreement(start=str(policies[1]), models=(str(policies[0]),), train=str(train))
    report = diagnose_agreement(scored_table(), settings, out)
    assert [each.name for each in report.models[0].slices] == ["all completions", "unseen prompts"]
    assert json.loads(out.read_text()) == {"diagnosis": "agreement", **json.loads(json.dumps(report.record()))}

    from prefboost.engines.local import streams

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(streams, "logps_of_batch", refuse)
    assert diagnose_agreement(scored_table(), settings, out).record() == report.record()
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(RunError, match="did not write it"):
        diagnose_agreement(scored_table(), settings, tmp_path / "mine.json")
