from __future__ import annotations

import numpy as np
import pytest

from prefboost.losses import CPO, ORPO, SFT, SimPO

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def values(loss, pairs):
    return loss(pairs).losses.detach().numpy()


def averages(a):
    return a["chosen"] / a["length_chosen"], a["rejected"] / a["length_rejected"]


def test_simpo_equals_its_closed_form(numbers, batch):
    a = numbers()
    w, l = averages(a)  # noqa: E741
    expected = np.log1p(np.exp(-(2.5 * w - 2.5 * l - 0.75)))
    assert values(SimPO(beta=2.5, gamma_beta_ratio=0.3), batch(a)) == pytest.approx(expected)


def test_simpos_reward_is_the_scaled_mean_log_prob(numbers, batch):
    a = numbers()
    assert SimPO(beta=2.5)(batch(a)).reward_chosen.numpy() == pytest.approx(2.5 * averages(a)[0])


def test_orpo_equals_its_closed_form(numbers, batch):
    a = numbers()
    w, l = averages(a)  # noqa: E741
    odds_w, odds_l = (np.exp(x) / (1 - np.exp(x)) for x in (w, l))
    expected = -w - 0.3 * np.log(1 / (1 + np.exp(-np.log(odds_w / odds_l))))
    assert values(ORPO(beta=0.3), batch(a)) == pytest.approx(expected)


def test_cpo_equals_its_closed_form(numbers, batch):
    a = numbers()
    expected = np.log1p(np.exp(-0.2 * (a["chosen"] - a["rejected"]))) - 0.5 * a["chosen"]
    assert values(CPO(beta=0.2, nll_weight=0.5, nll_mean="none"), batch(a)) == pytest.approx(expected)


def test_fine_tuning_ignores_the_rejected_completion(numbers, batch):
    pairs = batch(numbers())
    output = SFT()(pairs)
    assert torch.autograd.grad(output.losses.sum(), pairs.rejected, allow_unused=True) == (None,)
    torch.testing.assert_close(output.reward_chosen, pairs.chosen.detach())


@pytest.mark.parametrize("loss", [CPO, ORPO, SFT])
def test_a_likelihood_averaged_over_the_batch_needs_the_whole_batch(loss):
    assert loss(nll_mean="batch").whole_batch and not loss().whole_batch
