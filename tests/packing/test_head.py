"""The chunked head against log_softmax, values and gradients."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny_model

from prefboost.packing.head import Head, compute_token_logps, read_head


def _given(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(13, 6, generator=draw, dtype=dtype).requires_grad_()
    weight = torch.randn(29, 6, generator=draw, dtype=dtype).requires_grad_()
    bias = torch.randn(29, generator=draw, dtype=dtype).requires_grad_()
    return hidden, weight, bias, torch.randint(0, 29, (13,), generator=draw)


def _plainly(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden, head.weight, head.bias) * head.scale
    logits = logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)
    return logits.log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)


@pytest.mark.parametrize("cap", [None, 2.5])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("rows", [1, 4, 13, 100])
@pytest.mark.parametrize("biased", [True, False])
def test_values_and_gradients_are_those_of_log_softmax(
    cap: float | None, scale: float, rows: int, biased: bool
) -> None:
    hidden, weight, bias, targets = _given()
    head = Head(weight, bias if biased else None, scale, cap)
    shares = torch.linspace(-1, 2, 13, dtype=torch.float64)
    target = [hidden, weight, *([bias] if biased else [])]
    result, expected = compute_token_logps(hidden, targets, head, rows=rows), _plainly(hidden, targets, head)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    for mine, truth in zip(
        torch.autograd.grad((result * shares).sum(), target),
        torch.autograd.grad((expected * shares).sum(), target),
        strict=True,
    ):
        torch.testing.assert_close(mine, truth, rtol=1e-11, atol=1e-12)


def test_float32_is_no_further_from_the_truth_than_log_softmax() -> None:
    draw = torch.Generator().manual_seed(1)
    hidden, weight = torch.randn(64, 32, generator=draw), torch.randn(20_000, 32, generator=draw) / 3
    targets = torch.randint(0, 20_000, (64,), generator=draw)
    truth = _plainly(hidden.double(), targets, Head(weight.double(), None, 1.0, None))
    naive = _plainly(hidden, targets, Head(weight, None, 1.0, None))
    result = compute_token_logps(hidden, targets, Head(weight, None, 1.0, None))
    assert (result - truth).abs().max() <= (naive - truth).abs().max() + 1e-6


def test_under_autocast_the_product_is_half_precision_and_the_gradients_reach_the_float32_weights() -> None:
    hidden, weight, bias, targets = _given(torch.float32)
    head = Head(weight, bias, 1.0, None)
    with torch.autocast("cpu", torch.bfloat16):
        result = compute_token_logps(hidden, targets, head)
    assert result.dtype == torch.float32
    result.sum().backward()
    expected = torch.autograd.grad(_plainly(hidden, targets, head).sum(), [hidden, weight, bias])
    for tensor, truth in zip((hidden, weight, bias), expected, strict=True):
        assert tensor.grad is not None and tensor.grad.dtype == torch.float32
        assert (tensor.grad - truth).norm() < 0.03 * truth.norm()


def test_no_rows_have_no_log_probs() -> None:
    hidden, weight, _, targets = _given()
    assert compute_token_logps(hidden[:0], targets[:0], Head(weight, None, 1.0, None)).shape == (0,)


def test_an_output_layer_that_is_not_plainly_linear_is_left_to_the_model() -> None:
    model = tiny_model("gemma2")
    head = read_head(model)
    assert head is not None and head.cap == 3.0
    model.lm_head = torch.nn.Sequential(model.lm_head)
    assert read_head(model) is None
