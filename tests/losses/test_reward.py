"""Reward losses equal their closed forms, and absent scores leave no trace."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from prefboost.losses.reward import REWARD_LOSSES, BradleyTerry, Regression, RewardBatch, RewardLoss

pytestmark = pytest.mark.torch

NAN = float("nan")


def judged(**changes: Any) -> RewardBatch:
    usual: dict[str, Any] = {
        "rewards": torch.tensor([[2.0], [0.5], [-1.0]], dtype=torch.float64, requires_grad=True),
        "chosen": torch.tensor([0, 1]),
        "rejected": torch.tensor([1, 2]),
        "gap": torch.tensor([3.0, 0.5], dtype=torch.float64),
        "wins": torch.tensor([NAN, NAN], dtype=torch.float64),
        "weight": torch.tensor([NAN, NAN], dtype=torch.float64),
        "length_delta": torch.tensor([2.0, -1.0], dtype=torch.float64),
        "excess_length": torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64),
        "labels": torch.tensor([[2.5], [NAN], [0.0]], dtype=torch.float64),
    }
    return RewardBatch(**(usual | changes))


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
        ({"length_offset": 0.5}, [softplus(-2.5), softplus(-1.0)]),
        ({"length_offset": "fit"}, [softplus(-1.5), softplus(-1.5)]),
        ({"center_rewards_coefficient": 0.1}, [softplus(-1.5) + 0.1 * 6.25, softplus(-1.5) + 0.1 * 0.25]),
    ],
)
def test_options_of_bradley_terry_have_their_closed_forms(settings: dict[str, Any], expected: list[float]) -> None:
    assert BradleyTerry(**settings)(judged()).tolist() == pytest.approx(expected)


def test_soft_labels_are_the_cross_entropy_and_a_missing_one_is_certain() -> None:
    batch = judged(wins=torch.tensor([0.8, NAN], dtype=torch.float64))
    expected = [0.8 * softplus(-1.5) + 0.2 * softplus(1.5), softplus(-1.5)]
    assert BradleyTerry()(batch).tolist() == pytest.approx(expected)
    assert BradleyTerry(soft_labels=False)(batch).tolist() == pytest.approx([softplus(-1.5)] * 2)


def test_a_soft_label_is_best_met_by_its_own_log_odds() -> None:
    rewards = torch.tensor([[math.log(4.0)], [0.0], [-7.0]], dtype=torch.float64, requires_grad=True)
    batch = judged(rewards=rewards, chosen=torch.tensor([0]), rejected=torch.tensor([1]), gap=torch.tensor([NAN]),
                   wins=torch.tensor([0.8]), weight=torch.tensor([NAN]), length_delta=torch.tensor([0.0]))  # fmt: skip
    BradleyTerry()(batch).sum().backward()
    assert rewards.grad is not None and rewards.grad.abs().max().item() < 1e-7


def test_smoothing_and_soft_labels_mix_as_probabilities() -> None:
    batch = judged(wins=torch.tensor([0.8, 0.8], dtype=torch.float64))
    p = 0.8 * 0.9 + 0.2 * 0.1
    expected = p * softplus(-1.5) + (1 - p) * softplus(1.5)
    assert BradleyTerry(label_smoothing=0.1)(batch).tolist() == pytest.approx([expected] * 2)


def test_weights_multiply_and_weight_zero_leaves_no_gradient() -> None:
    batch = judged(weight=torch.tensor([0.0, 3.0], dtype=torch.float64))
    losses = BradleyTerry()(batch)
    assert losses.tolist() == pytest.approx([0.0, 3 * softplus(-1.5)])
    losses.sum().backward()
    assert batch.rewards.grad is not None and batch.rewards.grad[0].item() == 0.0


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


@pytest.mark.parametrize(
    ("offset", "expected"), [(0.5, [0.0, 0.0, 2.25]), (-0.5, [1.0, 0.0, 0.25]), ("fit", [0.25, 0.0, 1.0])]
)
def test_what_length_is_worth_is_taken_from_the_scores(offset: Any, expected: list[float]) -> None:
    assert Regression(length_offset=offset)(judged()).tolist() == pytest.approx(expected)


def test_every_head_may_have_an_offset_of_its_own() -> None:
    two = judged(rewards=torch.zeros(3, 2), labels=torch.tensor([[1.0, 1.0], [0.0, NAN], [-1.0, -1.0]]))
    assert Regression(aspects=("a", "b"), length_offset=(1.0, 0.0))(two).tolist() == pytest.approx([0.5, 0.0, 0.5])
    with pytest.raises(ValueError, match="2 numbers and the model 1 heads"):
        Regression(length_offset=(1.0, 2.0))


@pytest.mark.parametrize("kind", REWARD_LOSSES)
def test_every_kind_is_a_reward_loss(kind: str) -> None:
    loss = REWARD_LOSSES[kind]()
    assert isinstance(loss, RewardLoss) and loss.kind == kind and loss.heads == ("overall",)
