"""A policy's completions are scored and held against the start model, prompt by prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.scoring.conftest import completions_table, policies  # noqa: F401 - a fixture

from prefboost.engines.engine import Sampling
from prefboost.runs.diagnose.policy_completions import (
    CompletionMeasures,
    average_within_prompts,
    measure_scored_completions,
    sample_completions,
)
from prefboost.scoring.sequence_logps import LogprobModel


@pytest.mark.torch
def test_every_prompt_has_a_score_its_tokens_and_a_kl(policies: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    from length_scorer import LengthScorer

    policy, start = map(str, policies)
    how = CompletionMeasures(LengthScorer(), Sampling(max_tokens=4, temperature=1.0), samples=2)
    rows = completions_table([("one", "a"), ("two", "b"), ("one", "c")])
    scored = sample_completions(rows, policy, None, how, tmp_path / "new", lambda _: None)
    assert len(scored) == 4  # two prompts, two samples each
    values = measure_scored_completions(scored, policy, LogprobModel(start), tmp_path / "store", lambda _: None)
    assert {name: set(by) for name, by in values.items()} == {key: {"one", "two"} for key in ("score", "tokens", "kl")}
    assert any(values["kl"].values())
    unmoved = measure_scored_completions(scored, start, LogprobModel(start), None, lambda _: None)
    assert set(unmoved["kl"].values()) == {0.0}


def test_a_prompt_counts_once_however_many_completions_it_has() -> None:
    assert average_within_prompts({"score": {"one": [1.0, 3.0], "two": [5.0]}}) == {"score": {"one": 2.0, "two": 5.0}}
