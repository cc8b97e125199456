"""Attention over a packed stream: every token sees its ancestors and itself, through transformers' attention interface.

A model with a packed implementation computes ordinary calls as before. Calls that carry ``packed`` (a `Packed`, handed
through the model's layers as a keyword argument, so that recomputed layers get it too) attend along the trie.
Dropout of attention is never applied: log-probs that are compared must be exact.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from prefboost.packing.attention_kind import AttentionKind
from prefboost.packing.blocked import attend_blocked
from prefboost.packing.stream import Packed

__all__ = ["BACKENDS", "attend", "build_dense_mask", "name_implementation", "register_attention"]


def name_implementation(previous: str) -> str:
    """Name of the implementation that computes ordinary calls as ``previous`` does (eager, or else sdpa)."""
    return "prefboost_packed_eager" if previous == "eager" else "prefboost_packed_sdpa"


def register_attention() -> None:
    """Make the implementations known to transformers, with the masks that ordinary calls need."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    for previous in ("sdpa", "eager"):
        AttentionInterface.register(name_implementation(previous), _attention(previous))
        AttentionMaskInterface.register(name_implementation(previous), ALL_MASK_ATTENTION_FUNCTIONS[previous])


def _attention(previous: str) -> Callable[..., Any]:
    def forward(
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        packed: Packed | None = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Any]:
        if packed is None:
            ordinary: tuple[Tensor, Any] = _ordinary(previous, module)(
                module, query, key, value, attention_mask, **kwargs
            )
            return ordinary
        return attend(query, key, value, packed, _asked(module, kwargs)), None

    return forward


def _ordinary(previous: str, module: Any) -> Callable[..., Any]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    if previous == "eager":
        found: Callable[..., Any] = sys.modules[type(module).__module__].eager_attention_forward
        return found
    return ALL_ATTENTION_FUNCTIONS[previous]  # type: ignore[no-any-return]


def _asked(module: Any, kwargs: dict[str, Any]) -> AttentionKind:
    config = getattr(module, "config", None)
    kinds = getattr(config, "layer_types", None)
    index = getattr(module, "layer_idx", None)
    kind = kinds[index] if kinds is not None and index is not None and index < len(kinds) else None
    window = kwargs.get("sliding_window")
    if window is None and kind == "sliding_attention":
        window = getattr(config, "sliding_window", None)
    return AttentionKind(
        scale=kwargs.get("scaling"),
        window=window,
        chunk=getattr(config, "attention_chunk_size", None) if kind == "chunked_attention" else None,
        softcap=kwargs.get("softcap"),
        sinks=kwargs.get("s_aux"),
    )


def attend(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    """Attention of a layer over the stream.

    Args:
        query: [1, H, T, D].
        key: [1, G, T, D], H a multiple of G.
        value: [1, G, T, E].
        packed: the stream, on the same device.
        asked: what the layer wants.

    Returns:
        [1, T, H, E].
    """
    device = query.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    backend = _backend(query, value, asked)
    if "calls" in packed.cache:
        packed.cache["calls"].append(backend)
    return BACKENDS[backend](query, key, value, packed, asked)


def _backend(query: Tensor, value: Tensor, asked: AttentionKind) -> str:
    if not asked.plain_scores:
        return "flex" if query.is_cuda else "eager"
    if not query.is_cuda:
        return "blocked"
    halves = query.dtype in (torch.float16, torch.bfloat16)
    fits = query.shape[-1] == value.shape[-1] and query.shape[-1] <= 256 and asked.chunk is None
    return "varlen" if halves and fits and _has_varlen() else "sdpa"


@lru_cache(maxsize=1)
def _has_varlen() -> bool:
    """Whether torch has the kernel, with the arguments that are given here."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"scale", "window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def _per_node(
    query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind, one: Callable[..., Tensor]
) -> Tensor:
    """Apply attention node by node; splitting and joining once keeps the backward pass linear in T."""
    sizes = [node.end - node.start for node in packed.nodes]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for number, node in enumerate(packed.nodes):
        path = (*node.ancestors, number)
        seen_keys = torch.cat([keys[i] for i in path], dim=2) if node.ancestors else keys[number]
        seen_values = torch.cat([values[i] for i in path], dim=2) if node.ancestors else values[number]
        mask = _mask(packed, number, asked, query.device)
        outputs.append(one(queries[number], seen_keys, seen_values, mask, asked).transpose(1, 2))
    return torch.cat(outputs, dim=1)


def _mask(packed: Packed, number: int, asked: AttentionKind, device: torch.device) -> Tensor | None:
    """[rows of the node, rows of its ancestors and itself], True where seen; None is plain causal attention."""
    node = packed.nodes[number]
    length = node.depth + node.end - node.start
    window = asked.window if asked.window is not None and asked.window < length else None
    chunk = asked.chunk if asked.chunk is not None and asked.chunk < length else None
    if not node.ancestors and window is None and chunk is None:
        return None
    key = ("mask", number, window, chunk)
    if key not in packed.cache:
        at = torch.arange(node.depth, length, device=device)[:, None]
        seen = torch.arange(length, device=device)[None, :]
        mask = seen <= at
        if window is not None:
            mask &= at - seen < window
        if chunk is not None:
            mask &= at // chunk == seen // chunk
        packed.cache[key] = mask
    found: Tensor = packed.cache[key]
    return found


def build_dense_mask(packed: Packed, dtype: torch.dtype) -> Tensor:
    """The whole stream's mask [1, 1, T, T] to be added to scores, for models without the attention interface."""
    key = ("dense", dtype)
    if key not in packed.cache:
        rows = torch.arange(packed.tokens, device=packed.input_ids.device)
        lengths = torch.tensor([node.end - node.start for node in packed.nodes])
        ends = torch.tensor(packed.subtree_ends).repeat_interleave(lengths).to(rows.device)
        seen = (rows[None, :] <= rows[:, None]) & (rows[:, None] < ends[None, :])
        mask = torch.zeros(seen.shape, dtype=dtype, device=rows.device).masked_fill(~seen, torch.finfo(dtype).min)
        packed.cache[key] = mask[None, None]
    found: Tensor = packed.cache[key]
    return found


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, asked: AttentionKind) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, scale=asked.scale)


def _eager(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, asked: AttentionKind) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    scale = asked.scale if asked.scale is not None else query.shape[-1] ** -0.5
    scores = query @ key.repeat_interleave(groups, 1).transpose(2, 3) * scale
    if asked.softcap is not None:
        scores = asked.softcap * torch.tanh(scores / asked.softcap)
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if asked.sinks is not None:
        sinks = asked.sinks.to(scores).view(1, -1, 1, 1).expand(-1, -1, scores.shape[2], 1)
        scores = torch.cat([scores, sinks], dim=-1)
    wide = torch.float32 if scores.dtype in (torch.float16, torch.bfloat16) else scores.dtype
    shares = scores.softmax(dim=-1, dtype=wide)[..., : key.shape[2]].to(value.dtype)
    return shares @ value.repeat_interleave(groups, 1)


def _attend_sdpa(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    return _per_node(query, key, value, packed, asked, _sdpa)


def _attend_eager(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    return _per_node(query, key, value, packed, asked, _eager)


def _attend_varlen(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    """All nodes in one call: a node's keys are gathered from its ancestors and itself."""
    from torch.nn.attention.varlen import varlen_attn

    if "varlen" not in packed.cache:
        packed.cache["varlen"] = _varlen_plan(packed, query.device)
    rows, starts_q, starts_k, longest_q, longest_k = packed.cache["varlen"]
    left = -1 if asked.window is None else asked.window - 1
    output: Any = varlen_attn(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1).index_select(0, rows),
        value[0].transpose(0, 1).index_select(0, rows),
        starts_q,
        starts_k,
        longest_q,
        longest_k,
        scale=asked.scale,
        window_size=(left, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    found: Tensor = output[None]
    return found


def _varlen_plan(packed: Packed, device: torch.device) -> tuple[Tensor, Tensor, Tensor, int, int]:
    """Rows of the keys, and where the queries' and keys' segments begin; causality is aligned at the lower right."""
    paths = [
        torch.cat([torch.arange(packed.nodes[i].start, packed.nodes[i].end) for i in (*node.ancestors, number)])
        for number, node in enumerate(packed.nodes)
    ]
    lengths_q = torch.tensor([node.end - node.start for node in packed.nodes])
    lengths_k = torch.tensor([len(path) for path in paths])
    starts = [
        torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32).to(device)
        for lengths in (lengths_q, lengths_k)
    ]
    return torch.cat(paths).to(device), starts[0], starts[1], int(lengths_q.max()), int(lengths_k.max())


def _attend_flex(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    """Block-sparse attention with scores changed on the way (soft cap) and sinks taken off afterwards."""
    from prefboost.packing.flex import attend_flex

    return attend_flex(query, key, value, packed, asked)


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Packed, AttentionKind], Tensor]] = {
    "blocked": attend_blocked,
    "sdpa": _attend_sdpa,
    "eager": _attend_eager,
    "varlen": _attend_varlen,
    "flex": _attend_flex,
}
"""How attention over a stream is computed, by name."""
