"""Attention over a packed stream with FlexAttention, for layers that change their scores (soft cap, sinks).

Axes as in `prefboost.packing.attention`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from prefboost.packing.attention_kind import AttentionKind
from prefboost.packing.stream import Packed

__all__ = ["attend_flex"]

MASK_BLOCK = 128
"""Rows per block of the mask. Streams are padded to a multiple of it, so that compiled kernels are used again."""


def attend_flex(query: Tensor, key: Tensor, value: Tensor, packed: Packed, kind: AttentionKind) -> Tensor:
    """Attend as `prefboost.packing.attention.attend` specifies; the kernel is compiled on CUDA."""
    from torch.nn.attention.flex_attention import AuxRequest

    tokens = query.shape[2]
    padding = -tokens % MASK_BLOCK
    query, key, value = (pad(tensor, (0, 0, 0, padding)) for tensor in (query, key, value))

    def cap_score(score: Tensor, *_: Any) -> Tensor:
        return score if kind.softcap is None else kind.softcap * torch.tanh(score / kind.softcap)

    output, extra = _load_kernel(query.is_cuda)(
        query,
        key,
        value,
        score_mod=cap_score,
        block_mask=_build_block_mask(packed, tokens + padding, kind, query.device),
        scale=kind.scale,
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=True),
    )
    if kind.sinks is not None:
        # With a sink s the weights are exp(x_j) / (sum exp(x) + exp(s)). That is the softmax without sink times
        # sum exp(x) / (sum exp(x) + exp(s)) = sigmoid(logsumexp(x) - s), one factor per query.
        share = torch.sigmoid(extra.lse - kind.sinks.to(extra.lse)[None, :, None])
        output = output * share[..., None].to(output.dtype)
    unpadded: Tensor = output[:, :, :tokens].transpose(1, 2)
    return unpadded


@lru_cache(maxsize=2)
def _load_kernel(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention


def _build_block_mask(packed: Packed, length: int, kind: AttentionKind, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    cache_key = ("flex", kind.window, kind.chunk)
    if cache_key in packed.cache:
        return packed.cache[cache_key]
    ends = torch.zeros(length, dtype=torch.long, device=device)
    for node, end in zip(packed.nodes, packed.subtree_ends, strict=True):
        ends[node.start : node.end] = end
    rows = packed.tokens
    # A row without any key would have a softmax of nothing (NaN), so rows of padding see themselves alone.
    ends[rows:] = torch.arange(rows, length, device=device) + 1
    positions = pad(packed.position_ids, (0, length - rows))
    window, chunk = kind.window, kind.chunk

    def is_seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        # The stream is in depth-first order, so k is an ancestor of q exactly if q lies in the subtree of k's node.
        mask = (k <= q) & (q < ends[k])
        if window is not None:
            mask = mask & (positions[q] - positions[k] < window)
        if chunk is not None:
            mask = mask & (positions[q] // chunk == positions[k] // chunk)
        return mask

    block_mask = create_block_mask(is_seen, None, None, length, length, device=str(device), BLOCK_SIZE=MASK_BLOCK)
    packed.cache[cache_key] = block_mask
    return block_mask
