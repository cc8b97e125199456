from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from prefboost.losses import APODown, APOZero, BCOPair, KTOPair, NCAPair

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def ratios(a):
    return a["chosen"] - a["ref_chosen"], a["rejected"] - a["ref_rejected"]


def values(loss, pairs):
    return loss(pairs).losses.detach().numpy()


@pytest.mark.parametrize("seed", range(4))
def test_kto_equals_its_closed_form_with_the_other_halfs_mean_as_point_of_reference(numbers, batch, seed):
    a = numbers(seed=seed)
    w, l = ratios(a)  # noqa: E741
    z_w, z_l = max(w.mean(), 0), max(l.mean(), 0)
    expected = (2 * (1 - sigmoid(0.4 * (w - z_l))) + 0.5 * (1 - sigmoid(0.4 * (z_w - l)))) / 2
    assert values(KTOPair(beta=0.4, weight_chosen=2, weight_rejected=0.5), batch(a)) == pytest.approx(expected)


def test_ktos_point_of_reference_carries_no_gradient(numbers, batch):
    pairs = batch(numbers(3))
    (gradient,) = torch.autograd.grad(KTOPair()(pairs).losses[0], pairs.rejected)
    assert gradient[0] != 0 and (gradient[1:] == 0).all()


def test_nca_apo_and_bco_equal_their_closed_forms(numbers, batch):
    a = numbers()
    w, l = (0.3 * ratio for ratio in ratios(a))  # noqa: E741
    log = np.log
    nca = -log(sigmoid(w)) - 0.5 * log(sigmoid(-w)) - 0.5 * log(sigmoid(-l))
    assert values(NCAPair(beta=0.3), batch(a)) == pytest.approx(nca)
    assert values(APOZero(beta=0.3), batch(a)) == pytest.approx(1 - sigmoid(w) + sigmoid(l))
    assert values(APODown(beta=0.3), batch(a)) == pytest.approx(sigmoid(w) + 1 - sigmoid(w - l))
    assert values(BCOPair(beta=0.3), batch(a)) == pytest.approx(-log(sigmoid(w)) - log(sigmoid(-l)))


def test_bcos_batch_shift_makes_the_loss_blind_to_a_shift_of_all_rewards(numbers, batch):
    a, shifted = numbers(), numbers()
    for name in ("chosen", "rejected"):
        shifted[name] = shifted[name] + 3.0
    loss = BCOPair(beta=0.3, reward_shift="batch")
    assert values(loss, batch(shifted)) == pytest.approx(values(loss, batch(a)))
    assert values(BCOPair(beta=0.3), batch(shifted)) != pytest.approx(values(BCOPair(beta=0.3), batch(a)))


def test_bcos_running_shift_is_refused_by_name():
    with pytest.raises(ValidationError, match="a running mean makes the loss depend on the order of batches"):
        BCOPair(reward_shift="running")


def test_apo_zero_pulls_chosen_up_and_apo_down_pulls_it_down(numbers, batch):
    signs = {}
    for loss in (APOZero(), APODown()):
        a = numbers(1)
        a["chosen"], a["rejected"] = a["ref_chosen"], a["ref_rejected"] - 50
        pairs = batch(a)
        loss(pairs).losses.sum().backward()
        signs[loss.kind] = pairs.chosen.grad.sign().item()
    assert signs == {"apo_zero": -1.0, "apo_down": 1.0}
