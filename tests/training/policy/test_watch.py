"""What is watched: one number a view, named by view and by score."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefboost.losses import DPO, PairLogps, SimPO
from prefboost.training.policy.watch import compute_view_metrics

NAN = float("nan")


def test_log_prob_changes_are_kept_apart_by_score_and_accuracy_by_view() -> None:
    pairs = PairLogps(
        chosen=torch.tensor([-5.0, -9.0]),
        rejected=torch.tensor([-7.0, -8.0]),
        length_chosen=torch.ones(2),
        length_rejected=torch.ones(2),
        ref_chosen=torch.tensor([-6.0, -6.0]),
        ref_rejected=torch.tensor([-6.0, -6.0]),
    )
    batch = {
        "unit_ids": ["a", "a"],
        "views": ["chosen", "rejected"],
        "score_chosen": torch.tensor([9.0, 2.0]),
        "score_rejected": torch.tensor([2.0, 5.0]),
    }
    found = compute_view_metrics(DPO(beta=0.5)(pairs), pairs, batch, (5.0,))
    # A view that a metric says nothing of has NaN in its place, so that every number is that of its view.
    expected = {
        "logp_change/chosen_score>=5": [1.0, NAN],
        "logp_change/chosen_score<5": [NAN, -3.0],
        "logp_change/rejected_score>=5": [NAN, -2.0],
        "logp_change/rejected_score<5": [-1.0, NAN],
        "accuracy/goal_high": [1.0, NAN],
        "accuracy/goal_low": [NAN, 0.0],
    }
    for name, numbers in expected.items():
        assert found[name] == pytest.approx(numbers, nan_ok=True)
    assert found["rewards/margins"] == [1.0, -0.5]


def test_views_without_a_name_keep_theirs_and_missing_scores_fall_in_no_bucket() -> None:
    one = torch.ones(1)
    pairs = PairLogps(
        chosen=-one, rejected=-2 * one, length_chosen=one, length_rejected=one, ref_chosen=-one, ref_rejected=-one
    )
    batch = {"unit_ids": ["a"], "views": ["grid"], "score_chosen": one * float("nan"), "score_rejected": one}
    found = compute_view_metrics(DPO()(pairs), pairs, batch, (3.0, 7.0))
    assert found["accuracy/grid"] == [1.0]
    assert [name for name in found if name.startswith("logp_change/")] == ["logp_change/rejected_score<3"]


def test_displacement_is_measured_per_completion_and_per_token_and_only_against_a_reference() -> None:
    pairs = PairLogps(
        chosen=torch.tensor([-5.0, -9.0]),
        rejected=torch.tensor([-7.0, -8.0]),
        length_chosen=torch.tensor([2, 3]),
        length_rejected=torch.tensor([1, 4]),
        ref_chosen=torch.tensor([-6.0, -6.0]),
        ref_rejected=torch.tensor([-6.0, -6.0]),
    )
    batch = {
        "unit_ids": ["a", "b"],
        "views": ["a", "b"],
        "score_chosen": torch.ones(2),
        "score_rejected": torch.ones(2),
    }
    metrics = compute_view_metrics(DPO(beta=0.5)(pairs), pairs, batch, ())
    assert metrics["displacement/chosen"] == [1.0, -3.0]
    assert metrics["displacement/chosen_token_mean"] == [0.5, -1.0]
    assert metrics["displacement/margin"] == [2.0, -1.0]
    # Means of |1/2| and |-1/1|, and of |-3/3| and |-2/4|.
    assert metrics["displacement/distance_token_mean"] == [0.75, 0.75]
    alone = replace(pairs, ref_chosen=None, ref_rejected=None)
    metrics = compute_view_metrics(SimPO()(alone), alone, batch, ())
    assert not [name for name in metrics if name.startswith("displacement/")]


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(-50, 50))
def test_a_preference_is_split_into_what_turns_with_the_goal_and_what_both_goals_share(
    under_high: float, under_low: float, alone: float
) -> None:
    # Changes of log pi(A) - log pi(B) of a pair under both goals, behind a pair with one view only.
    chosen = torch.tensor([alone, under_high, -under_low], dtype=torch.float64)
    zero, length = torch.zeros(3, dtype=torch.float64), torch.ones(3)
    pairs = PairLogps(
        chosen=chosen, rejected=zero, length_chosen=length, length_rejected=length, ref_chosen=zero, ref_rejected=zero
    )
    batch = {
        "unit_ids": ["alone", "both", "both"],
        "views": ["chosen", "chosen", "rejected"],
        "score_chosen": length,
        "score_rejected": length,
    }
    found = compute_view_metrics(DPO()(pairs), pairs, batch, (5.0,))
    followed, ignored = (under_high - under_low) / 2, abs(under_high + under_low) / 2
    assert found["goal/followed"] == pytest.approx([NAN, followed, followed], nan_ok=True)
    assert found["goal/ignored"] == pytest.approx([NAN, ignored, ignored], nan_ok=True)
    shuffled = batch | {"unit_ids": ["a", "b", "c"]}
    assert not [
        name for name in compute_view_metrics(DPO()(pairs), pairs, shuffled, (5.0,)) if name.startswith("goal/")
    ]
