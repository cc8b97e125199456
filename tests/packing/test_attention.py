"""Every backend against attention computed one query at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from prefboost.packing import pack
from prefboost.packing.attention import BACKENDS, attend, build_dense_mask
from prefboost.packing.attention_kind import AttentionKind
from prefboost.packing.stream import Packed

COMMON = [1, 2, 3, 4, 5, 6, 7]
PROMPTS = [[*COMMON, 8], [*COMMON, 8], [*COMMON, 9, 10], [11, 12]]
COMPLETIONS = [[1, 2, 3, 4, 5], [2, 2], [3, 3, 3, 3], [4, 4, 4]]


def _stream() -> tuple[Packed, torch.Tensor, torch.Tensor, torch.Tensor]:
    packed = pack(PROMPTS, COMPLETIONS, min_shared=1)
    draw = torch.Generator().manual_seed(0)
    shapes = [(1, heads, packed.tokens, 8) for heads in (4, 2, 2)]
    query, key, value = (torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes)
    return packed, query, key, value


def _one_at_a_time(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packed: Packed, kind: AttentionKind
) -> Any:
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    outputs = []
    for row in range(packed.tokens):
        number = next(n for n, node in enumerate(packed.nodes) if node.start <= row < node.end)
        path = [*packed.nodes[number].ancestors, number]
        rows = [r for n in path for r in range(packed.nodes[n].start, packed.nodes[n].end) if r <= row]
        at = int(packed.position_ids[row])
        seen = [r for r in rows if kind.window is None or at - int(packed.position_ids[r]) < kind.window]
        if kind.chunk is not None:
            seen = [r for r in seen if int(packed.position_ids[r]) // kind.chunk == at // kind.chunk]
        scores = (query[:, :, row, None] * key[:, :, seen]).sum(-1) * (kind.scale or 8**-0.5)
        if kind.softcap is not None:
            scores = kind.softcap * torch.tanh(scores / kind.softcap)
        weights = scores.exp()
        total = weights.sum(-1, keepdim=True)
        if kind.sinks is not None:
            total = total + kind.sinks.exp()[None, :, None]
        outputs.append(((weights / total)[..., None] * value[:, :, seen]).sum(2))
    return torch.stack(outputs, dim=1)


PLAIN = [AttentionKind(), AttentionKind(scale=0.2), AttentionKind(window=3), AttentionKind(chunk=4)]
CHANGED = [
    AttentionKind(softcap=2.0),
    AttentionKind(sinks=torch.linspace(-1, 1, 4, dtype=torch.float64)),
    AttentionKind(softcap=1.5, window=4, sinks=torch.zeros(4, dtype=torch.float64)),
]


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ("sdpa", "blocked") for kind in PLAIN] + [("eager", kind) for kind in PLAIN + CHANGED],
)
def test_values_and_gradients_of_the_backends_for_any_device(name: str, kind: AttentionKind) -> None:
    packed, query, key, value = _stream()
    result = BACKENDS[name](query, key, value, packed, kind)
    expected = _one_at_a_time(query, key, value, packed, kind)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-12)
    shares = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for mine, truth in zip(
        torch.autograd.grad((result * shares).sum(), (query, key, value)),
        torch.autograd.grad((expected * shares).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(mine, truth, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [AttentionKind(), AttentionKind(scale=0.2), AttentionKind(window=3)])
def test_one_call_over_variable_lengths_has_the_same_values(
    kind: AttentionKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel runs on CUDA alone; what it documents (causality at the lower right) is computed here in its place."""
    from torch.nn.attention import varlen

    monkeypatch.setattr(varlen, "varlen_attn", _as_documented)
    packed, query, key, value = _stream()
    result = BACKENDS["varlen"](query, key, value, packed, kind)
    torch.testing.assert_close(result, _one_at_a_time(query, key, value, packed, kind), rtol=1e-10, atol=1e-12)


def _as_documented(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *starts: Any, **how: Any) -> Any:
    starts_q, starts_k, longest_q, longest_k = starts
    assert how["enable_gqa"]
    left, right = how["window_size"]
    assert right == 0
    outputs = []
    for (q0, q1), (k0, k1) in zip(pairwise(starts_q.tolist()), pairwise(starts_k.tolist()), strict=True):
        q, k, v = query[q0:q1], key[k0:k1].repeat_interleave(2, 1), value[k0:k1].repeat_interleave(2, 1)
        assert len(q) <= longest_q
        assert len(k) <= longest_k
        at = torch.arange(len(k) - len(q), len(k))[:, None]
        seen = torch.arange(len(k))[None, :]
        mask = (seen <= at) if left < 0 else (seen <= at) & (seen >= at - left)
        scores = torch.einsum("qhd,khd->hqk", q, k) * (how["scale"] or 8**-0.5)
        outputs.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~mask, -torch.inf).softmax(-1), v))
    return torch.cat(outputs)


def test_the_dense_mask_shows_the_same_keys() -> None:
    packed, query, key, value = _stream()
    key, value = key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    scores = query @ key.transpose(2, 3) * 8**-0.5 + build_dense_mask(packed, torch.float64)
    result = (scores.softmax(-1) @ value).transpose(1, 2)
    torch.testing.assert_close(
        result, _one_at_a_time(query, key[:, ::2], value[:, ::2], packed, AttentionKind()), rtol=1e-10, atol=1e-12
    )


def test_under_autocast_attention_runs_in_half_precision() -> None:
    packed, query, key, value = _stream()
    single = [tensor.detach().float() for tensor in (query, key, value)]
    with torch.autocast("cpu", torch.bfloat16):
        result = attend(*single, packed, AttentionKind())
    assert result.dtype == torch.bfloat16
    expected = _one_at_a_time(query, key, value, packed, AttentionKind())
    assert (result - expected).abs().max() < 0.05
