from __future__ import annotations

import pytest

from prefboost.losses import IPO, SPPOHard

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_ipo_to_the_letter_is_zero_at_its_target(numbers, batch):
    a = numbers(4)
    a["chosen"] = a["ref_chosen"] + a["rejected"] - a["ref_rejected"] + 1 / (2 * 0.25)
    assert IPO(beta=0.25, normalise=False)(batch(a)).losses.detach().numpy() == pytest.approx(0, abs=1e-12)


def test_normalised_ipo_does_not_change_when_a_completion_is_repeated(numbers, batch):
    once = numbers(4)
    twice = {name: array * (1 if "score" in name else 2) for name, array in once.items()}
    torch.testing.assert_close(IPO()(batch(twice)).losses, IPO()(batch(once)).losses)
    assert not torch.allclose(IPO(normalise=False)(batch(twice)).losses, IPO(normalise=False)(batch(once)).losses)


def test_sppo_pulls_the_two_log_ratios_to_opposite_targets(numbers, batch):
    a = numbers(4)
    a["chosen"], a["rejected"] = a["ref_chosen"] + 500, a["ref_rejected"] - 500
    assert SPPOHard(beta=0.001)(batch(a)).losses.detach().numpy() == pytest.approx(0, abs=1e-9)
    a["chosen"] = a["ref_chosen"] + 503
    assert SPPOHard(beta=0.001)(batch(a)).losses.detach().numpy() == pytest.approx(9, abs=1e-9)
