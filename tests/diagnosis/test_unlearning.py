"""Changes of log-probs by score: right for models on disk, for buckets, and for what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.scoring.conftest import pairs_table, policies  # noqa: F401 - a fixture
from tests.scoring.test_implicit import logp

from prefboost.diagnosis.unlearning import CompletionChanges, DiagnoseUnlearning, measure_changes, summarise_changes
from prefboost.engines.call_session import CallSession
from prefboost.errors import DataError
from prefboost.scoring.sides import ScoredItem
from prefboost.tables import Table

TEXTS = [("one", "a cat", "b"), ("two", "yes", "no no"), ("one", "a dog", "b"), ("three", "x", "a long answer")]
SCORES = [(9.0, 8.0), (7.0, 2.0), (6.0, 5.0), (10.0, 1.0)]


def scored_pairs() -> Table:
    table = pairs_table(TEXTS)
    best, worst = zip(*SCORES, strict=True)
    frame = table.frame.with_columns(
        score_chosen=pl.Series(best, dtype=pl.Float64), score_rejected=pl.Series(worst, dtype=pl.Float64)
    )
    return Table(table.spec, frame, path=table.path)


@pytest.mark.torch
def test_a_change_is_the_difference_of_the_two_models_log_probs(policies: tuple[Path, Path]) -> None:  # noqa: F811
    policy, start = policies
    settings = DiagnoseUnlearning(start=str(start), models=(str(policy), str(start)), scores=(6,))
    report = measure_changes(scored_pairs(), settings, CallSession())
    changes = {
        (side, prompt, answer): logp(policy, prompt, answer)[0] - logp(start, prompt, answer)[0]
        for prompt, *answers in TEXTS
        for side, answer in zip(("chosen", "rejected"), answers, strict=True)
    }
    buckets = {bucket.label: bucket for bucket in report.models[0].buckets}
    assert list(buckets) == ["chosen, 6 <= score", "rejected, score < 6", "rejected, 6 <= score"]
    chosen = [change for (side, *_), change in changes.items() if side == "chosen"]
    assert buckets["chosen, 6 <= score"].change.estimate == pytest.approx(np.mean(chosen), abs=1e-4)
    # The rejected completion with a score of 8 is the one that a plain preference loss would unlearn.
    good = buckets["rejected, 6 <= score"]
    assert good.change.estimate == pytest.approx(changes["rejected", "one", "b"], abs=1e-4)
    assert good.per_token.estimate == pytest.approx(good.change.estimate / logp(start, "one", "b")[1], abs=1e-4)
    margins = [changes["chosen", p, a] - changes["rejected", p, b] for p, a, b in TEXTS]
    assert report.models[0].margin is not None
    assert report.models[0].margin.estimate == pytest.approx(np.mean(margins), abs=1e-4)
    unchanged = report.models[1]
    assert {bucket.change.estimate for bucket in unchanged.buckets} == {0.0} and not unchanged.displaced


@pytest.mark.torch
def test_a_goal_conditioned_policy_is_asked_for_each_completions_own_score(
    policies: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
) -> None:
    import shutil

    policy = shutil.copytree(policies[0], tmp_path / "conditioned")
    template = policy / "chat_template.jinja"
    template.write_text("{% if goal %}{{ goal }} {% endif %}" + template.read_text())
    settings = DiagnoseUnlearning(start=str(policies[1]), models=(str(policy), str(policies[0])))
    report = measure_changes(scored_pairs(), settings, CallSession())
    assert [model.goals for model in report.models] == ["own", "none"]
    asked, plain = (model.buckets for model in report.models)
    assert [bucket.change.estimate for bucket in asked] != [bucket.change.estimate for bucket in plain]
    without = measure_changes(scored_pairs(), settings.model_copy(update={"goal": "none"}), CallSession())
    changes = [bucket.change.estimate for bucket in without.models[0].buckets]
    assert changes == [bucket.change.estimate for bucket in plain]


@pytest.mark.torch
def test_completions_without_a_score_are_measured_unless_it_is_their_goal(policies: tuple[Path, Path]) -> None:  # noqa: F811
    settings = DiagnoseUnlearning(start=str(policies[1]), models=(str(policies[0]),))
    report = measure_changes(pairs_table(TEXTS), settings, CallSession())
    assert [bucket.label for bucket in report.models[0].buckets] == ["chosen, all scores", "rejected, all scores"]
    with pytest.raises(DataError, match="no score that its prompt could ask for"):
        measure_changes(pairs_table(TEXTS), settings.model_copy(update={"goal": "own"}), CallSession())


@pytest.mark.torch
def test_what_a_model_cannot_read_is_left_out_and_counted(policies: tuple[Path, Path]) -> None:  # noqa: F811
    settings = DiagnoseUnlearning(start=str(policies[1]), models=(str(policies[0]),), max_length=2)
    with pytest.raises(DataError, match="none of 8 completions can be measured: the conversation is longer"):
        measure_changes(scored_pairs(), settings, CallSession())
    longest = measure_changes(scored_pairs(), settings.model_copy(update={"max_length": 30}), CallSession())
    assert longest.completions + sum(longest.rejected.values()) == 8


def build_changes(rows: list[tuple[str, str, float | None, float]]) -> CompletionChanges:
    """Changes of (prompt, side, score, change), two rows of a pair after each other."""
    items = [ScoredItem(at // 2, side, [], [], False) for at, (_, side, _, _) in enumerate(rows)]
    changes = np.array([change for *_, change in rows])
    prompts, scores = [row[0] for row in rows], [row[2] for row in rows]
    return CompletionChanges(items, prompts, scores, changes, np.full(len(rows), 4.0))


@given(st.lists(st.tuples(st.floats(1, 10), st.floats(-50, 50)), min_size=1, max_size=30))
def test_buckets_part_the_completions_and_their_means_add_up(rows: list[tuple[float, float]]) -> None:
    changes = build_changes([(f"p{at}", "chosen", *row) for at, row in enumerate(rows)])
    buckets = summarise_changes("m", "none", changes).buckets
    assert sum(bucket.change.rows for bucket in buckets) == len(rows)
    total = sum(bucket.change.estimate * bucket.change.rows for bucket in buckets)
    assert total == pytest.approx(changes.changes.sum(), abs=1e-6)
    assert all(bucket.per_token.estimate == pytest.approx(bucket.change.estimate / 4) for bucket in buckets)


@pytest.mark.parametrize(("chosen", "displaced"), [(-5.0, True), (5.0, False)])
def test_displacement_is_a_margin_that_grows_over_chosen_completions_that_fall(chosen: float, displaced: bool) -> None:
    rows = [
        (f"p{at}", side, 5.0, (chosen if side == "chosen" else chosen - 20) + at % 3 / 10)
        for at in range(30)
        for side in ("chosen", "rejected")
    ]
    change = summarise_changes("m", "none", build_changes(rows))
    assert change.margin is not None and change.margin.estimate == pytest.approx(20)
    assert change.displaced is displaced
