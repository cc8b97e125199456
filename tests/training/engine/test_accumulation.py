"""Parts of a step add up to the whole, and gradients are exchanged once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from prefboost.training.engine.accumulation import accumulate, gather_maximum, splits_weights


def test_losses_in_parts_have_the_gradient_of_their_sum_and_are_exchanged_once(monkeypatch: Any) -> None:
    accelerator, waits = Accelerator(cpu=True), list[int]()
    model = torch.nn.Linear(3, 1)

    @contextmanager
    def no_sync(wrapped: Any) -> Any:
        waits.append(1)
        yield

    monkeypatch.setattr(accelerator, "no_sync", no_sync)
    inputs = torch.arange(12.0).view(4, 3)
    total = accumulate(accelerator, model, [lambda row=row: model(row).square().sum() for row in inputs])
    found = model.weight.grad.clone()
    model.zero_grad()
    whole = model(inputs).square().sum()
    whole.backward()
    torch.testing.assert_close(found, model.weight.grad)
    torch.testing.assert_close(total, whole.detach())
    assert len(waits) == 3
    assert gather_maximum(accelerator, 7) == 7 and not splits_weights(accelerator)
