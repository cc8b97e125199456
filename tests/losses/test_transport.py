from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from prefboost.losses import AOT, DPO, AOTUnpaired

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def test_with_one_pair_optimal_transport_is_dpo(numbers, batch):
    pairs = batch(numbers(1))
    for loss in (AOT(label_smoothing=0.2), AOTUnpaired(label_smoothing=0.2)):
        torch.testing.assert_close(loss(pairs).losses, DPO(label_smoothing=0.2)(pairs).losses)


def test_both_equal_their_closed_forms_on_sorted_ratios(numbers, batch):
    a = numbers(7)
    paired = np.sort(a["chosen"] - a["rejected"]) - np.sort(a["ref_chosen"] - a["ref_rejected"])
    unpaired = np.sort(a["chosen"] - a["ref_chosen"]) - np.sort(a["rejected"] - a["ref_rejected"])
    for loss, delta in ((AOT(beta=0.4), paired), (AOTUnpaired(beta=0.4), unpaired)):
        assert loss(batch(a)).losses.detach().numpy() == pytest.approx(np.log1p(np.exp(-0.4 * delta)))


def test_the_unpaired_loss_does_not_care_which_rejected_completion_stands_beside_which_chosen(numbers, batch):
    pairs = batch(numbers(7))
    turned = dataclasses.replace(pairs, rejected=pairs.rejected.flip(0), ref_rejected=pairs.ref_rejected.flip(0))
    torch.testing.assert_close(AOTUnpaired()(turned).losses, AOTUnpaired()(pairs).losses)
