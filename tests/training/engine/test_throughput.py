"""Tokens, savings and shares of the peak are counted as they are defined."""

from __future__ import annotations

import pytest
import torch
from tests.training.conftest import build_model

from prefboost.packing import pack
from prefboost.training.engine.throughput import Meter, cost_of, peak_flops


def test_devices_are_known_by_whole_words() -> None:
    assert peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA GeForce RTX 4090") == 165.2e12
    assert peak_flops("NVIDIA L40") is None and peak_flops("A device") is None


def test_the_cost_is_six_operations_a_weight_and_token() -> None:
    model = build_model()
    weights = sum(p.numel() for p in model.parameters())
    table = model.get_input_embeddings().weight.numel()
    cost = cost_of(model)
    assert cost.head == 6 * table and cost.body == 6 * (weights - 2 * table)
    assert cost_of(model, adapters=True).of(10, 3) == pytest.approx(cost.of(10, 3) * 4 / 6)


def test_savings_are_ratios_of_what_would_have_been_computed() -> None:
    meter = Meter(torch.device("cpu"), processes=2)
    with meter.time_part("forward_backward"):
        meter.count(pack([list(range(20))] * 2, [[1] * 11, [2] * 5]))
    meter.begin("optimizer")
    meter.end("optimizer")
    read = meter.read()
    assert read["speed/padding_saved"] == pytest.approx(2 * 31 / 54, abs=1e-4)
    assert read["speed/prefix_saved"] == pytest.approx(54 / 34, abs=1e-4)
    assert read["speed/tokens_per_s"] > 0 and "speed/mfu" not in read
    assert read["time/step"] == pytest.approx(read["time/forward_backward"] + read["time/optimizer"], abs=1e-3)
    assert not {"speed/tokens_per_s", "time/step"} & set(meter.read())
    summary = meter.summary()
    assert summary["real"] == 54 and summary["computed"] == 34 and summary["scored"] == 16
    assert "time/forward_backward" in summary and summary["peak_gib"] > 0
