"""Reward losses equal their closed forms, and absent scores leave no trace."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from prefboost.losses.judged import REWARD_LOSSES, BradleyTerry, Judged, Regression, RewardLoss

pytestmark = pytest.mark.torch

NAN = float("nan")


def judged(**changes: Any) -> Judged:
    usual: dict[str, Any] = {
        "rewards": torch.tensor([[2.0], [0.5], [-1.0]], dtype=torch.float64, requires_grad=True),
        "chosen": torch.tensor([0, 1]),
        "rejected": torch.tensor([1, 2]),
        "gap": torch.tensor([3.0, 0.5], dtype=torch.float64),
        "labels": torch.tensor([[2.5], [NAN], [0.0]], dtype=torch.float64),
    }
    return Judged(**(usual | changes))


def softplus(number: float) -> float:
    return math.log1p(math.exp(number))


def test_bradley_terry_is_the_likelihood_of_the_preferences() -> None:
    losses = BradleyTerry()(judged())
    assert losses.tolist() == pytest.approx([softplus(-1.5), softplus(-1.5)])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"gap": "margin", "gap_scale": 0.5}, [softplus(0.0), softplus(-1.25)]),
        ({"gap": "weight"}, [3 * softplus(-1.5), 0.5 * softplus(-1.5)]),
        ({"label_smoothing": 0.2}, [0.8 * softplus(-1.5) + 0.2 * softplus(1.5)] * 2),
        ({"center_rewards_coefficient": 0.1}, [softplus(-1.5) + 0.1 * 6.25, softplus(-1.5) + 0.1 * 0.25]),
    ],
)
def test_options_of_bradley_terry_have_their_closed_forms(settings: dict[str, Any], expected: list[float]) -> None:
    assert BradleyTerry(**settings)(judged()).tolist() == pytest.approx(expected)


def test_a_missing_gap_plays_no_part_where_gaps_are_ignored() -> None:
    batch = judged(gap=torch.tensor([NAN, NAN]))
    BradleyTerry()(batch).sum().backward()
    assert batch.rewards.grad is not None and bool(batch.rewards.grad.isfinite().all())


def test_regression_is_the_mean_square_over_known_scores() -> None:
    assert Regression()(judged()).tolist() == pytest.approx([0.25, 0.0, 1.0])


def test_a_missing_score_leaks_no_gradient() -> None:
    rewards = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[0.0, NAN], [NAN, NAN]], dtype=torch.float64)
    Regression(aspects=("a", "b"))(judged(rewards=rewards, labels=labels)).sum().backward()
    assert rewards.grad is not None
    assert rewards.grad.tolist() == [[2.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("kind", REWARD_LOSSES)
def test_every_kind_is_a_reward_loss(kind: str) -> None:
    loss = REWARD_LOSSES[kind]()
    assert isinstance(loss, RewardLoss) and loss.kind == kind and loss.heads == ("overall",)
