from __future__ import annotations

import math

import pytest

from prefboost.losses import EXOPair

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def at(batch, numbers, delta):
    a = numbers(1)
    a["chosen"] = a["ref_chosen"] + a["rejected"] - a["ref_rejected"] + delta
    return EXOPair(beta=1.0, label_smoothing=0.1)(batch(a)).losses.item()


def test_the_loss_is_zero_where_the_policy_believes_the_label_as_much_as_smoothing_does(batch, numbers):
    assert at(batch, numbers, math.log(9)) == pytest.approx(0, abs=1e-12)


def test_the_loss_is_the_reverse_kl_at_a_known_point(batch, numbers):
    assert at(batch, numbers, 0.0) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))


def test_a_smoothing_of_zero_is_refused_since_the_kl_would_be_infinite():
    with pytest.raises(ValueError, match="greater than 0"):
        EXOPair(label_smoothing=0)
