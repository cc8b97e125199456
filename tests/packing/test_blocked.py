"""Attention in blocks against the backend that keeps whole scores, over several blocks and sharing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefboost.devices.numbers import choose_numbers
from prefboost.packing import pack
from prefboost.packing.attention import BACKENDS, AttentionKind
from prefboost.packing.blocked import BLOCKS
from prefboost.packing.trie import build_trie

BLOCK = BLOCKS[8]
LAYERS = st.sampled_from(
    [
        AttentionKind(),
        AttentionKind(scale=0.3),
        AttentionKind(window=9),
        AttentionKind(window=100),
        AttentionKind(chunk=50),
    ]
)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 2 * BLOCK),
    st.lists(st.integers(0, 2 * BLOCK), min_size=1, max_size=4),
    LAYERS,
    st.sampled_from([1, 2, 4]),
)
def test_values_and_gradients(prompt: int, completions: list[int], kind: AttentionKind, groups: int) -> None:
    packed = pack([[0] * prompt] * len(completions), [[n + 1] * length for n, length in enumerate(completions)])
    draw = torch.Generator().manual_seed(0)
    tensors = [
        torch.randn(1, heads, packed.tokens, 4, generator=draw, dtype=torch.float64).requires_grad_()
        for heads in (4, groups, groups)
    ]
    result, expected = (BACKENDS[name](*tensors, packed, kind) for name in ("blocked", "eager"))
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    shares = torch.randn(expected.shape, generator=draw, dtype=torch.float64)
    for mine, truth in zip(
        torch.autograd.grad((result * shares).sum(), tensors),
        torch.autograd.grad((expected * shares).sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(mine, truth, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_further_from_the_truth_than_the_fused_kernel(dtype: torch.dtype) -> None:
    packed = pack([list(range(80))] * 2, [[1] * 150, [2] * 90])
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, heads, packed.tokens, 32, generator=draw).to(dtype) for heads in (4, 2, 2)]
    truth = BACKENDS["eager"](*(tensor.double() for tensor in tensors), packed, AttentionKind())
    error = {name: (BACKENDS[name](*tensors, packed, AttentionKind()) - truth).norm() for name in ("blocked", "sdpa")}
    assert error["blocked"] <= 2.0 * error["sdpa"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [AttentionKind(), AttentionKind(window=100), AttentionKind(chunk=150)])
def test_at_most_the_last_bit_depends_on_where_the_stream_is_cut(kind: AttentionKind, dtype: torch.dtype) -> None:
    # Training and the reference pass put the same sequences into different streams; their log-probs have to agree.
    draw = torch.Generator().manual_seed(0)
    text, short = (torch.randint(3, 90, (count,), generator=draw).tolist() for count in (491, 37))
    tensors = [torch.randn(len(text), h, 32, generator=draw).to(dtype) for h in (4, 2, 2)]
    result = []
    for others in ([], [text[:401] + short], [text[:401] + short, text[:333] + short], [text[:17] + short]):
        sequences = [text, *others]
        packed = pack(sequences, [[]] * len(sequences), min_shared=1)
        rows = build_trie([np.array(each) for each in sequences], min_shared=1).rows[0]
        stream = [tensor.new_zeros(packed.tokens, *tensor.shape[1:]) for tensor in tensors]
        for part, tensor in zip(stream, tensors, strict=True):
            part[rows] = tensor
        result.append(BACKENDS["blocked"](*(part.transpose(0, 1)[None] for part in stream), packed, kind)[0, rows])
    assert len(pack([text, text[:401] + short], [[]] * 2, min_shared=1).nodes) == 3
    # Except in bf16 units a product adds up keys in an order that depends on their number, which windows keep small.
    units = dtype == torch.bfloat16 and choose_numbers("auto", "cpu").name == "bfloat16"
    for other in result[1:]:
        if units or kind != AttentionKind():
            assert torch.equal(result[0], other)
        else:
            torch.testing.assert_close(other, result[0], rtol=torch.finfo(dtype).eps, atol=5e-7)


def test_weights_that_are_too_large_to_keep_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = pack([list(range(80))] * 2, [[1] * 150, [2] * 290])
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(1, h, packed.tokens, 8, generator=draw).requires_grad_() for h in (4, 2, 2)]
    remaining = torch.autograd.grad(BACKENDS["blocked"](*tensors, packed, AttentionKind()).square().sum(), tensors)
    monkeypatch.setattr("prefboost.packing.blocked.SAVED_BYTES", 300_000)
    again = torch.autograd.grad(BACKENDS["blocked"](*tensors, packed, AttentionKind()).square().sum(), tensors)
    for first, second in zip(remaining, again, strict=True):
        assert torch.equal(first, second)


def test_layers_together_keep_no_more_than_their_share_and_give_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefboost.packing.blocked.SAVED_BYTES_OF_LAYERS", 500_000)
    packed = pack([list(range(80))] * 2, [[1] * 150, [2] * 290])
    tensors = [torch.randn(1, h, packed.tokens, 8).requires_grad_() for h in (4, 2, 2)]
    layers = [BACKENDS["blocked"](*tensors, packed, AttentionKind()) for _ in range(3)]
    (layout,) = packed.cache.values()
    assert 0 < layout.saved.count <= 500_000
    first, *others = (torch.autograd.grad(layer.square().sum(), tensors) for layer in layers)
    for second in others:
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    assert layout.saved.count == 0
