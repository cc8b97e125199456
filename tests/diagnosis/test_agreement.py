"""Agreement with held-out scores: right for models on disk, perfect for known rewards, apart for unseen prompts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.scoring.conftest import completions_table, policies  # noqa: F401 - a fixture
from tests.scoring.test_implicit import logp

from prefboost.diagnosis import agreement
from prefboost.diagnosis.agreement import (
    AgreementReport,
    DiagnoseAgreement,
    TrainedOn,
    correlate_rewards,
    measure_agreement_with_scores,
)
from prefboost.engines.call_session import CallSession
from prefboost.errors import DataError
from prefboost.statistics.rank_correlation import spearman
from prefboost.tables import SCORED_COMPLETIONS, Table, conform

TEXTS = [
    ("one", "a cat", 9.0), ("one", "b", 8.0), ("one", "a big cat", 3.0),
    ("two", "yes", 7.0), ("two", "no no", 2.0),
    ("three", "x", 10.0), ("three", "a long answer", 1.0), ("three", "a dog", 5.0), ("three", "so", 5.0),
]  # fmt: skip


def scored_table(texts: list[tuple[str, str, float]] = TEXTS, writers: tuple[str, ...] = ("w",)) -> Table:
    table = completions_table([(prompt, answer) for prompt, answer, _ in texts])
    frame = table.frame.with_columns(
        score=pl.Series([score for *_, score in texts]),
        model=pl.Series([writers[at % len(writers)] for at in range(len(texts))]),
    )
    return Table(SCORED_COMPLETIONS, conform(frame, SCORED_COMPLETIONS), path="scored.parquet")


def measure(settings: DiagnoseAgreement, table: Table | None = None, **rest: Any) -> AgreementReport:
    return measure_agreement_with_scores(table or scored_table(), settings, CallSession(), **rest)


@pytest.mark.torch
def test_measures_are_those_of_the_two_models_log_probs(policies: tuple[Path, Path]) -> None:  # noqa: F811
    policy, start = policies
    report = measure(DiagnoseAgreement(start=str(start), models=(str(policy),), pairs=10))
    ((slice_,), prompts) = report.models[0].slices, report.prompts
    rewards = [logp(policy, prompt, answer)[0] - logp(start, prompt, answer)[0] for prompt, answer, _ in TEXTS]
    lengths = [logp(policy, prompt, answer)[1] for prompt, answer, _ in TEXTS]
    by_prompt, scores = [prompt for prompt, *_ in TEXTS], [score for *_, score in TEXTS]
    raw, partial = correlate_rewards(rewards, scores, lengths, by_prompt)
    assert prompts == 3 and slice_.rank_correlation is not None and slice_.at_equal_length is not None
    assert slice_.rank_correlation.estimate == pytest.approx(raw.estimate)
    assert slice_.at_equal_length.estimate == pytest.approx(partial.estimate)
    right = [
        rewards[a] > rewards[b]
        for a in range(9)
        for b in range(9)
        if by_prompt[a] == by_prompt[b] and scores[a] > scores[b]
    ]
    assert slice_.pair_accuracy is not None and slice_.pair_accuracy.rows == len(right) == 3 + 1 + 5
    assert slice_.pair_accuracy.estimate == pytest.approx(np.mean(right))
    assert slice_.goal_accuracy is None  # its template asks for none


@pytest.mark.torch
def test_a_policy_that_asks_is_measured_under_both_goals_of_a_pair(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = shutil.copytree(policies[0], tmp_path / "asking")
    template = asking / "chat_template.jinja"
    template.write_text("{% if goal %}{{ goal }} {% endif %}" + template.read_text())
    asked: list[tuple[int, float | None]] = []
    original = agreement._encode

    def remember(rows: Any, keys: Any, *rest: Any) -> Any:
        asked.extend(keys)
        return original(rows, keys, *rest)

    def follow(start: Any, texts: Any, session: Any) -> dict[str, np.ndarray]:
        # A policy that follows exactly: the nearer to the goal, the likelier.
        scores = [score for *_, score in TEXTS]
        return {name: np.array([-abs(scores[at] - goal) for at, goal in asked]) for name in texts}

    monkeypatch.setattr(agreement, "_encode", remember)
    monkeypatch.setattr(agreement, "compute_policy_ratios", follow)
    report = measure(DiagnoseAgreement(start=str(policies[1]), models=(str(asking),)))
    (whole,) = report.models[0].slices
    assert report.models[0].asks and {goal for _, goal in asked} == {score for *_, score in TEXTS}
    assert whole.goal_accuracy is not None and whole.goal_accuracy.estimate == 1.0
    assert whole.pair_accuracy is not None and whole.pair_accuracy.estimate == 1.0
    # Asked for the highest score, the reward rises with the score.
    assert whole.rank_correlation is not None and whole.rank_correlation.estimate == pytest.approx(1.0)
    assert "goal pairs, both goals           1.00" in "\n".join(report.lines())


@pytest.mark.torch
def test_unseen_prompts_and_writers_are_told_apart(policies: tuple[Path, Path]) -> None:  # noqa: F811
    settings = DiagnoseAgreement(start=str(policies[1]), models=(str(policies[0]),))
    table = scored_table(writers=("known", "known", "new"))
    trained_on = TrainedOn.of_table(scored_table(TEXTS[:3], ("known",)))
    report = measure(settings, table, trained_on=trained_on)
    assert {each.name: each.completions for each in report.models[0].slices} == {
        "all completions": 9,
        "unseen prompts": 6,
        "unseen prompts and writers": 2,
    }


def test_with_one_prompt_the_correlation_is_spearmans() -> None:
    rewards, scores = [3.0, 1.0, 2.0, 5.0], [2.0, 1.0, 3.0, 9.0]
    raw, _ = correlate_rewards(rewards, scores, [1, 2, 3, 4], ["one"] * 4)
    assert raw.estimate == pytest.approx(spearman(rewards, scores))


def test_equal_scores_make_no_pair(policies: tuple[Path, Path]) -> None:  # noqa: F811
    settings = DiagnoseAgreement(start=str(policies[1]), models=(str(policies[0]),))
    with pytest.raises(DataError, match="no prompt has two completions of different scores"):
        measure(settings, scored_table([("one", "a", 5.0), ("one", "b", 5.0), ("two", "c", 7.0)]))


@pytest.mark.torch
def test_it_measures_published_scores_with_a_tiny_model(policies: tuple[Path, Path], shared_dir: Path) -> None:  # noqa: F811
    from prefboost.sources import read

    table = read(shared_dir / "data" / "alpacaeval_scored.parquet")
    settings = DiagnoseAgreement(
        start=str(policies[1]), models=(str(policies[0]),), most_prompts=4, max_length=2000, pairs=3
    )
    seen = table.frame.filter(pl.col("model") == "claude-2")
    trained_on = TrainedOn.of_table(Table(table.spec, seen, path=table.path))
    report = measure(settings, table, trained_on=trained_on)
    (whole,) = report.models[0].slices  # every prompt was answered by claude-2, so that none is unseen
    assert report.prompts == 4 and 60 < whole.completions + sum(report.rejected.values()) < 90
    assert whole.rank_correlation is not None and -1 <= whole.rank_correlation.low <= whole.rank_correlation.high <= 1
