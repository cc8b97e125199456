"""The report is written, its log-probs are kept, and nothing that is not its own is overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.diagnosis.test_unlearning import scored_pairs
from tests.scoring.conftest import policies  # noqa: F401 - a fixture

from prefboost.diagnosis.unlearning import DiagnoseUnlearning
from prefboost.errors import DataError, RunError
from prefboost.runs.diagnose.unlearning import diagnose_unlearning

pytestmark = pytest.mark.torch


def test_a_further_checkpoint_computes_that_one_alone(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from prefboost.engines.local import streams

    computed: list[int] = []
    original = streams.logps_of_batch

    def count(model: Any, prompts: Any, *rest: Any, **options: Any) -> Any:
        computed.append(len(prompts))
        return original(model, prompts, *rest, **options)

    monkeypatch.setattr(streams, "logps_of_batch", count)
    policy, start = map(str, policies)
    out = tmp_path / "report.json"
    first = diagnose_unlearning(scored_pairs(), DiagnoseUnlearning(start=start, models=(start,)), out)
    assert sum(computed) == 7  # of eight completions two are equal
    both = diagnose_unlearning(scored_pairs(), DiagnoseUnlearning(start=start, models=(start, policy)), out)
    assert sum(computed) == 14
    assert both.record()["models"][0] == first.record()["models"][0]
    assert "NaN" not in out.read_text()
    assert json.loads(out.read_text())["models"][1]["buckets"][0]["side"] == "chosen"


def test_other_files_are_not_overwritten(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    settings = DiagnoseUnlearning(start=str(policies[1]), models=(str(policies[0]),))
    mine = tmp_path / "mine.json"
    mine.write_text("{}")
    with pytest.raises(RunError, match="did not write it"):
        diagnose_unlearning(scored_pairs(), settings, mine)
    with pytest.raises(DataError, match="JSON"):
        diagnose_unlearning(scored_pairs(), settings, tmp_path / "report.txt")
    assert mine.read_text() == "{}"
