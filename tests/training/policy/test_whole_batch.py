"""Losses over all devices' pairs have the gradient of one device that holds them all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from prefboost.losses import LOSSES, PairLogps
from prefboost.training.policy.whole_batch import gradients_of_batch

NAMES = ("chosen", "rejected", "ref_chosen", "ref_rejected")


def pairs_of(count: int) -> PairLogps:
    draw = torch.Generator().manual_seed(0)
    logps = {name: -10 * torch.rand(count, generator=draw, dtype=torch.float64) for name in NAMES}
    return PairLogps(length_chosen=torch.full((count,), 5.0), length_rejected=torch.full((count,), 6.0), **logps)


def rows_of(pairs: PairLogps, rows: slice) -> PairLogps:
    return PairLogps(**{name: value[rows] for name, value in vars(pairs).items() if value is not None})


@pytest.mark.parametrize("kind", ["aot", "aot_unpaired", "kto_pair", "bco_pair", "dpo", "sft"])
def test_the_shares_of_two_devices_make_the_gradient_of_one(kind: str) -> None:
    loss = LOSSES[kind](reward_shift="batch") if kind == "bco_pair" else LOSSES[kind]()
    whole = pairs_of(7)
    leaf = PairLogps(**{**vars(whole), "chosen": whole.chosen.clone().requires_grad_()})
    (expected,) = torch.autograd.grad(loss(leaf).losses.mean(), leaf.chosen)
    shares = [rows_of(whole, slice(0, 4)), rows_of(whole, slice(4, 7))]

    def from_all(mine: Any) -> list[Any]:
        return [{name: getattr(share, name) for name in mine} for share in shares]

    found = [gradients_of_batch(loss, share, from_all, index) for index, share in enumerate(shares)]
    torch.testing.assert_close(torch.cat([gradient.chunk(2)[0] for _, gradient in found]), expected)
    mean = torch.cat([output.losses for output, _ in found]).mean()
    torch.testing.assert_close(mean, loss(whole).losses.mean())
