from __future__ import annotations

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.losses import DPO, RPO, MarginDPO

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def values(loss, pairs):
    return loss(pairs).losses.detach().numpy()


def delta_and_gap(a):
    delta = (a["chosen"] - a["ref_chosen"]) - (a["rejected"] - a["ref_rejected"])
    return delta, a["score_chosen"] - a["score_rejected"]


def kl(p, q):
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


@pytest.mark.parametrize("distance", ["squared", "forward_kl", "backward_kl"])
def test_rpo_equals_its_closed_form(numbers, batch, distance):
    a = numbers()
    delta, gap = delta_and_gap(a)
    p, q = (1 / (1 + np.exp(-x)) for x in (0.3 * delta, 0.5 * gap))
    expected = {"squared": (0.3 * delta - 0.5 * gap) ** 2, "forward_kl": kl(p, q), "backward_kl": kl(q, p)}[distance]
    assert values(RPO(beta=0.3, eta=0.5, distance=distance), batch(a)) == pytest.approx(expected)


@pytest.mark.parametrize("distance", ["squared", "forward_kl", "backward_kl"])
def test_rpo_is_zero_and_flat_where_the_policys_difference_is_the_scores(numbers, batch, distance):
    a = numbers()
    _, gap = delta_and_gap(a)
    a["chosen"] = a["ref_chosen"] + (a["rejected"] - a["ref_rejected"]) + 0.2 * gap / 0.1
    pairs = batch(a)
    losses = RPO(beta=0.1, eta=0.2, distance=distance)(pairs).losses
    losses.sum().backward()
    assert losses.detach().numpy() == pytest.approx(0, abs=1e-12)
    assert pairs.chosen.grad.numpy() == pytest.approx(0, abs=1e-12)


def test_rpo_towards_infinitely_different_scores_becomes_dpo(numbers, batch):
    pairs = batch(numbers())
    assert values(RPO(eta=1e4), pairs) == pytest.approx(values(DPO(), pairs))


def test_the_offset_equals_its_closed_form(numbers, batch):
    a = numbers()
    delta, gap = delta_and_gap(a)
    for margin, offset in (("log", np.log(gap)), ("linear", gap)):
        expected = np.log1p(np.exp(-(0.3 * delta - 0.7 * offset)))
        assert values(MarginDPO(beta=0.3, alpha=0.7, margin=margin), batch(a)) == pytest.approx(expected)


def test_without_an_offset_it_is_dpo(numbers, batch):
    pairs = batch(numbers())
    assert values(MarginDPO(alpha=0), pairs) == pytest.approx(values(DPO(), pairs))


def test_a_goal_pairs_gap_is_how_much_nearer_the_chosen_completion_is(numbers, batch):
    a = numbers()
    a["score_chosen"], a["score_rejected"] = a["score_rejected"], a["score_chosen"]
    gap = a["distance_rejected"] - a["distance_chosen"]
    expected = np.log1p(np.exp(-(0.1 * delta_and_gap(a)[0] - np.log(gap))))
    assert values(MarginDPO(gap="distance"), batch(a)) == pytest.approx(expected)


def test_the_logarithm_of_a_tie_is_refused_with_its_row(numbers, batch):
    a = numbers()
    a["score_rejected"][2] = a["score_chosen"][2]
    with pytest.raises(DataError, match=r"row 2: the score gap of 1 pairs is not positive \(first: 0\)"):
        MarginDPO()(batch(a))
    assert values(MarginDPO(margin="linear"), batch(a))[2] == pytest.approx(values(DPO(), batch(a))[2])
