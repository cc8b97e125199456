from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pydantic import ValidationError

from prefboost.losses import DPO, DiscoPOP, Hinge, RobustDPO

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def delta_of(a):
    return (a["chosen"] - a["ref_chosen"]) - (a["rejected"] - a["ref_rejected"])


def values(loss, pairs):
    return loss(pairs).losses.detach().numpy()


def test_conservative_dpo_equals_its_closed_form(numbers, batch):
    a = numbers()
    p = 1 / (1 + np.exp(-0.2 * delta_of(a)))
    expected = -0.7 * np.log(p) - 0.3 * np.log(1 - p)
    assert values(DPO(beta=0.2, label_smoothing=0.3), batch(a)) == pytest.approx(expected, rel=1e-12)


def test_dpo_starts_at_log_two_where_policy_and_reference_agree(numbers, batch):
    a = numbers()
    a["chosen"], a["rejected"] = a["ref_chosen"], a["ref_rejected"]
    for loss in (DPO(), DPO(label_smoothing=0.3), DPO(normalise=True), RobustDPO()):
        assert values(loss, batch(a)) == pytest.approx(np.log(2))
    assert values(Hinge(), batch(a)) == pytest.approx(1.0)


def test_swapping_the_completions_and_the_sign_of_delta_are_one(numbers, batch):
    pairs = batch(numbers())
    swapped = dataclasses.replace(
        pairs,
        chosen=pairs.rejected,
        rejected=pairs.chosen,
        ref_chosen=pairs.ref_rejected,
        ref_rejected=pairs.ref_chosen,
        length_chosen=pairs.length_rejected,
        length_rejected=pairs.length_chosen,
    )
    assert values(DPO(), swapped) - values(DPO(), pairs) == pytest.approx(0.1 * pairs.delta.detach().numpy())
    torch.testing.assert_close(DPO()(swapped).reward_chosen, DPO()(pairs).reward_rejected)


def test_the_gradient_of_dpo_is_beta_times_the_probability_of_being_wrong(numbers, batch):
    a, pairs = numbers(), batch(numbers())
    DPO(beta=0.3)(pairs).losses.sum().backward()
    wrong = 1 / (1 + np.exp(0.3 * delta_of(a)))
    assert pairs.chosen.grad.numpy() == pytest.approx(-0.3 * wrong)
    assert pairs.rejected.grad.numpy() == pytest.approx(0.3 * wrong)


def test_robust_dpo_is_unbiased_under_flipped_labels(numbers, batch):
    a, pairs, flip = numbers(), batch(numbers()), 0.2
    turned = {
        **a,
        **{f"{r}{x}": a[f"{r}{y}"] for r in ("", "ref_") for x, y in (("chosen", "rejected"), ("rejected", "chosen"))},
    }
    seen = (1 - flip) * values(RobustDPO(label_smoothing=flip), pairs) + flip * values(
        RobustDPO(label_smoothing=flip), batch(turned)
    )
    assert seen == pytest.approx(values(DPO(), pairs))


def test_the_hinge_is_flat_beyond_its_margin_and_linear_before(numbers, batch):
    a = numbers()
    assert values(Hinge(beta=0.4), batch(a)) == pytest.approx(np.maximum(0, 1 - 0.4 * delta_of(a)))


def test_discopop_equals_its_closed_form(numbers, batch):
    a = numbers()
    x = 0.05 * delta_of(a)
    m = 1 / (1 + np.exp(-x / 0.05))
    assert values(DiscoPOP(), batch(a)) == pytest.approx((1 - m) * np.log1p(np.exp(-x)) + m * np.exp(-x))


@pytest.mark.parametrize(
    "wrong", [{"beta": 0}, {"beta": -1}, {"label_smoothing": 0.5}, {"label_smoothing": -0.1}, {"betta": 1}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        DPO(**wrong)
