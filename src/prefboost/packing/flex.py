"""Attention over a packed stream with FlexAttention, for layers that change their scores (soft cap, sinks).

A key is an ancestor's of a query exactly if the query lies in the subtree of the key's node (an interval of the stream,
since the stream is in depth-first order) and the key does not come after the query.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from prefboost.packing.attention_kind import AttentionKind
from prefboost.packing.stream import Packed

__all__ = ["attend_flex"]

BLOCK = 128
"""Rows of a block of the mask; streams are padded to a multiple of it, so that compiled kernels are used again."""


def attend_flex(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    """See `prefboost.packing.attention.attend`; the kernel is compiled on CUDA."""
    from torch.nn.attention.flex_attention import AuxRequest

    tokens = query.shape[2]
    padding = -tokens % BLOCK
    query, key, value = (torch.nn.functional.pad(tensor, (0, 0, 0, padding)) for tensor in (query, key, value))

    def capped(score: Tensor, *_: Any) -> Tensor:
        return score if asked.softcap is None else asked.softcap * torch.tanh(score / asked.softcap)

    output, extra = _kernel(query.is_cuda)(
        query,
        key,
        value,
        score_mod=capped,
        block_mask=_block_mask(packed, tokens + padding, asked, query.device),
        scale=asked.scale,
        enable_gqa=query.shape[1] != key.shape[1],
        return_aux=AuxRequest(lse=True),
    )
    if asked.sinks is not None:
        kept = torch.sigmoid(extra.lse - asked.sinks.to(extra.lse)[None, :, None])
        output = output * kept[..., None].to(output.dtype)
    found: Tensor = output[:, :, :tokens].transpose(1, 2)
    return found


@lru_cache(maxsize=2)
def _kernel(compiled: bool) -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention


def _block_mask(packed: Packed, length: int, asked: AttentionKind, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    made = ("flex", asked.window, asked.chunk)
    if made in packed.cache:
        return packed.cache[made]
    ends = torch.zeros(length, dtype=torch.long, device=device)
    for node, end in zip(packed.nodes, packed.subtree_ends, strict=True):
        ends[node.start : node.end] = end
    rows = packed.tokens
    ends[rows:] = torch.arange(rows, length, device=device) + 1  # rows of padding see themselves alone
    positions = torch.nn.functional.pad(packed.position_ids, (0, length - rows))
    window, chunk = asked.window, asked.chunk

    def seen(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        mask = (k <= q) & (q < ends[k])
        if window is not None:
            mask = mask & (positions[q] - positions[k] < window)
        if chunk is not None:
            mask = mask & (positions[q] // chunk == positions[k] // chunk)
        return mask

    packed.cache[made] = create_block_mask(seen, None, None, length, length, device=str(device), BLOCK_SIZE=BLOCK)
    return packed.cache[made]
