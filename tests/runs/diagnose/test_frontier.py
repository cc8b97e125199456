"""Score against KL of policies on disk: completions of a file, or ones that they write now; it resumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from tests.scoring.conftest import completions_table, policies  # noqa: F401 - a fixture
from tests.scoring.test_implicit import logp

from prefboost.engines.engine import Sampling
from prefboost.errors import DataError, SettingsError
from prefboost.runs.diagnose.frontier import DiagnoseFrontier, diagnose_frontier
from prefboost.tables import SCORED_COMPLETIONS, Table, conform

pytestmark = pytest.mark.torch

ANSWERS = [("one", "a cat"), ("two", "yes"), ("three", "a dog")]


def scored_by(*writers: str) -> Table:
    """The same answers by every writer; the score is the number of characters, and for later writers one more."""
    table = completions_table(ANSWERS * len(writers))
    scores = [float(len(text) + at) for at in range(len(writers)) for _, text in ANSWERS]
    models = [writer for writer in writers for _ in ANSWERS]
    frame = table.frame.with_columns(model=pl.Series(models), score=pl.Series(scores))
    return Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS), path="scored.parquet")


def test_completions_of_a_file_give_score_and_kl(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    policy, start = map(str, policies)
    settings = DiagnoseFrontier(start=start, models=(policy,))
    report = diagnose_frontier(scored_by(start, policy), settings, tmp_path / "frontier.json")
    (point,) = report.points
    assert report.start is not None and point.score.estimate - report.start.estimate == pytest.approx(1.0)
    kls = [logp(policies[0], *text)[0] - logp(policies[1], *text)[0] for text in ANSWERS]
    assert point.kl.estimate == pytest.approx(np.mean(kls), abs=1e-4)
    assert json.loads((tmp_path / "frontier.json").read_text())["points"][0]["arm"] == policy


def test_policies_complete_prompts_and_a_second_call_generates_nothing(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, start = map(str, policies)
    settings = DiagnoseFrontier(
        start=start,
        arms={"plain": ((policy, start),), "other": (policy,)},
        scorer={"kind": "length_scorer:LengthScorer"},
        sampling=Sampling(max_tokens=5),
    )
    out = tmp_path / "frontier.json"
    report = diagnose_frontier(completions_table(ANSWERS), settings, out)
    assert report.prompts == 3 and [(point.arm, point.seeds) for point in report.points] == [("plain", 2), ("other", 1)]
    # Half of the two seeds is the start model itself, at KL 0.
    plain, other = report.points
    assert plain.kl.estimate == pytest.approx(other.kl.estimate / 2)

    from prefboost.engines.local.engine import LocalEngine

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("generated again")

    monkeypatch.setattr(LocalEngine, "generate", refuse)
    assert diagnose_frontier(completions_table(ANSWERS), settings, out).record() == report.record()


def test_a_policy_is_asked_for_its_highest_score(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    import shutil

    asking = shutil.copytree(policies[0], tmp_path / "run" / "model")
    template = asking / "chat_template.jinja"
    template.write_text("{% if goal %}{{ goal }} {% endif %}" + template.read_text())
    settings = DiagnoseFrontier(
        start=str(policies[1]), models=(str(tmp_path / "run"),), scorer={"kind": "length_scorer:LengthScorer"},
        sampling=Sampling(max_tokens=3),
    )  # fmt: skip
    with pytest.raises(SettingsError, match="does not say which is its highest"):
        diagnose_frontier(completions_table(ANSWERS), settings, tmp_path / "frontier.json")
    (asking / "prefboost.json").write_text('{"top": 9.0}')
    diagnose_frontier(completions_table(ANSWERS), settings, tmp_path / "frontier.json")
    written = [
        pl.read_parquet(path)["goal"].to_list()
        for path in (tmp_path / "frontier.json.policies").rglob("scored.parquet")
    ]
    assert sorted(written, key=str) == [[9.0] * 3, [None] * 3]


def test_what_is_missing_is_named(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    policy, start = map(str, policies)
    settings = DiagnoseFrontier(start=start, models=(policy,))
    with pytest.raises(DataError, match="no scored completion of"):
        diagnose_frontier(scored_by(start), settings, tmp_path / "frontier.json")
    with pytest.raises(DataError, match="found Completions without a column model"):
        diagnose_frontier(completions_table(ANSWERS), settings, tmp_path / "frontier.json")
    with pytest.raises(ValidationError, match="no policy is named"):
        DiagnoseFrontier(start=start)
