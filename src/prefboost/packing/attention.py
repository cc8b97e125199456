"""Attention over a packed stream: every token sees its ancestors and itself, through transformers' attention interface.

A model with a packed implementation computes ordinary calls as before. A call that carries ``packed`` (a `Packed`)
attends along the trie; it travels through the layers as a keyword argument, so that recomputed layers get it too.
Dropout of attention is never applied: log-probs that are compared must be exact.

Axes: H query heads, G key heads (H a multiple of G), T tokens of the stream, D and E numbers per key and value.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from prefboost.packing.attention_kind import AttentionKind
from prefboost.packing.blocked import attend_blocked
from prefboost.packing.flex import attend_flex
from prefboost.packing.stream import Packed

__all__ = ["BACKENDS", "attend", "build_dense_mask", "name_implementation", "register_attention"]


def name_implementation(previous: str) -> str:
    """Return the implementation that computes ordinary calls as ``previous`` does (eager, or else sdpa)."""
    return "prefboost_packed_eager" if previous == "eager" else "prefboost_packed_sdpa"


def register_attention() -> None:
    """Register both implementations with transformers, with the masks that ordinary calls need."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    for previous in ("sdpa", "eager"):
        AttentionInterface.register(name_implementation(previous), _build_forward(previous))
        AttentionMaskInterface.register(name_implementation(previous), ALL_MASK_ATTENTION_FUNCTIONS[previous])


def _build_forward(previous: str) -> Callable[..., Any]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

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
            # Eager attention is no entry of transformers' table: every model's file defines a function of its own.
            file = sys.modules[type(module).__module__]
            ordinary = file.eager_attention_forward if previous == "eager" else ALL_ATTENTION_FUNCTIONS[previous]
            output: tuple[Tensor, Any] = ordinary(module, query, key, value, attention_mask, **kwargs)
            return output
        # A layer's kind of attention stands in its call, and in the configuration where the call leaves it out.
        config = getattr(module, "config", None)
        types = getattr(config, "layer_types", None)
        index = getattr(module, "layer_idx", None)
        layer_type = types[index] if types is not None and index is not None and index < len(types) else None
        window = kwargs.get("sliding_window")
        if window is None and layer_type == "sliding_attention":
            window = getattr(config, "sliding_window", None)
        kind = AttentionKind(
            scale=kwargs.get("scaling"),
            window=window,
            chunk=getattr(config, "attention_chunk_size", None) if layer_type == "chunked_attention" else None,
            softcap=kwargs.get("softcap"),
            sinks=kwargs.get("s_aux"),
        )
        return attend(query, key, value, packed, kind), None

    return forward


def attend(query: Tensor, key: Tensor, value: Tensor, packed: Packed, kind: AttentionKind) -> Tensor:
    """Compute a layer's attention over the stream.

    Args:
        query: [1, H, T, D].
        key: [1, G, T, D].
        value: [1, G, T, E].
        packed: the stream, on the same device.
        kind: scale, window and so on of the layer.

    Returns:
        [1, T, H, E].
    """
    device = query.device.type
    if torch.is_autocast_enabled(device):
        # Products that write into given memory (``out=``) are not autocast, so that the cast is made here for all.
        dtype = torch.get_autocast_dtype(device)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if not kind.has_plain_scores:
        backend = "flex" if query.is_cuda else "eager"
    elif not query.is_cuda:
        backend = "blocked"
    else:
        # Limits of the variable-length kernel: half precision, equal D and E of at most 256, no chunks.
        is_half = query.dtype in (torch.float16, torch.bfloat16)
        fits = query.shape[-1] == value.shape[-1] and query.shape[-1] <= 256 and kind.chunk is None
        backend = "varlen" if is_half and fits and _has_varlen() else "sdpa"
    if "calls" in packed.cache:
        packed.cache["calls"].append(backend)
    return BACKENDS[backend](query, key, value, packed, kind)


@lru_cache(maxsize=1)
def _has_varlen() -> bool:
    """Return whether torch has the variable-length kernel, with the arguments that are passed here."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return {"scale", "window_size", "enable_gqa"} <= set(inspect.signature(varlen_attn).parameters)


def _attend_by_node(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: Packed,
    kind: AttentionKind,
    *,
    eager: bool,
) -> Tensor:
    """Attend node by node: the queries of a node see the keys of its ancestors and its own."""
    # Slicing in the loop would make autograd allocate a gradient of the whole stream for each slice: T per node.
    # Splitting once and joining once keeps the backward pass linear in T.
    sizes = [node.end - node.start for node in packed.nodes]
    queries, keys, values = (torch.split(tensor, sizes, dim=2) for tensor in (query, key, value))
    outputs = []
    for number, node in enumerate(packed.nodes):
        path = (*node.ancestors, number)
        path_keys = torch.cat([keys[i] for i in path], dim=2) if node.ancestors else keys[number]
        path_values = torch.cat([values[i] for i in path], dim=2) if node.ancestors else values[number]
        length = node.depth + node.end - node.start
        window = kind.window if kind.window is not None and kind.window < length else None
        chunk = kind.chunk if kind.chunk is not None and kind.chunk < length else None
        # [rows of the node, rows of its path], True where seen; None is plain causal attention.
        mask: Tensor | None = None
        if node.ancestors or window is not None or chunk is not None:
            # Layers that see the same share a mask.
            cache_key = ("mask", number, window, chunk)
            if cache_key not in packed.cache:
                # A node's first query stands at position depth: a plain causal mask would align it with position 0.
                packed.cache[cache_key] = kind.mark_seen(range(node.depth, length), range(length), query.device)
            mask = packed.cache[cache_key]
        outputs.append(_attend_node(queries[number], path_keys, path_values, mask, kind, eager).transpose(1, 2))
    return torch.cat(outputs, dim=1)


def build_dense_mask(packed: Packed, dtype: torch.dtype) -> Tensor:
    """Build the whole stream's mask [1, 1, T, T], to be added to scores, for models without the attention interface."""
    key = ("dense", dtype)
    if key not in packed.cache:
        rows = torch.arange(packed.tokens, device=packed.input_ids.device)
        lengths = torch.tensor([node.end - node.start for node in packed.nodes])
        ends = torch.tensor(packed.subtree_ends).repeat_interleave(lengths).to(rows.device)
        # A subtree is one run of the stream, so "key is an ancestor of query" is: key <= query < end of key's subtree.
        is_seen = (rows[None, :] <= rows[:, None]) & (rows[:, None] < ends[None, :])
        mask = torch.zeros(is_seen.shape, dtype=dtype, device=rows.device)
        packed.cache[key] = mask.masked_fill(~is_seen, torch.finfo(dtype).min)[None, None]
    dense: Tensor = packed.cache[key]
    return dense


def _attend_node(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, kind: AttentionKind, eager: bool
) -> Tensor:
    groups = query.shape[1] // key.shape[1]
    if eager or groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    if not eager:
        return scaled_dot_product_attention(query, key, value, mask, is_causal=mask is None, scale=kind.scale)
    scale = kind.scale if kind.scale is not None else query.shape[-1] ** -0.5
    scores = query @ key.transpose(2, 3) * scale
    if kind.softcap is not None:
        scores = kind.softcap * torch.tanh(scores / kind.softcap)
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    if kind.sinks is not None:
        # A sink is a key without a value: it takes part in the softmax, and its weight is cut off again below.
        sinks = kind.sinks.to(scores).view(1, -1, 1, 1).expand(-1, -1, scores.shape[2], 1)
        scores = torch.cat([scores, sinks], dim=-1)
    wide = torch.float32 if scores.dtype in (torch.float16, torch.bfloat16) else scores.dtype
    weights = scores.softmax(dim=-1, dtype=wide)[..., : key.shape[2]].to(value.dtype)
    return weights @ value


def _attend_varlen(query: Tensor, key: Tensor, value: Tensor, packed: Packed, kind: AttentionKind) -> Tensor:
    """Attend in one call of the variable-length kernel: every node is a segment whose keys are those of its path."""
    from torch.nn.attention.varlen import varlen_attn

    if "varlen" not in packed.cache:
        # The plan depends on the stream alone: all layers of a step share it, windows included. A segment has more keys
        # than queries; the kernel aligns its causal mask at the lower right, which is what is meant.
        paths = [
            torch.cat([torch.arange(packed.nodes[i].start, packed.nodes[i].end) for i in (*node.ancestors, number)])
            for number, node in enumerate(packed.nodes)
        ]
        query_lengths = torch.tensor([node.end - node.start for node in packed.nodes])
        key_lengths = torch.tensor([len(path) for path in paths])
        starts = (
            pad(lengths.cumsum(0), (1, 0)).to(torch.int32).to(query.device) for lengths in (query_lengths, key_lengths)
        )
        longest = (int(query_lengths.max()), int(key_lengths.max()))
        packed.cache["varlen"] = (torch.cat(paths).to(query.device), *starts, *longest)
    key_rows, query_starts, key_starts, most_queries, most_keys = packed.cache["varlen"]
    left = -1 if kind.window is None else kind.window - 1  # the kernel does not count the query itself
    output: Any = varlen_attn(
        query[0].transpose(0, 1).contiguous(),
        key[0].transpose(0, 1).index_select(0, key_rows),
        value[0].transpose(0, 1).index_select(0, key_rows),
        query_starts,
        key_starts,
        most_queries,
        most_keys,
        scale=kind.scale,
        window_size=(left, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    batched: Tensor = output[None]
    return batched


BACKENDS: dict[str, Callable[[Tensor, Tensor, Tensor, Packed, AttentionKind], Tensor]] = {
    "blocked": attend_blocked,
    "sdpa": partial(_attend_by_node, eager=False),
    "eager": partial(_attend_by_node, eager=True),
    "varlen": _attend_varlen,
    "flex": attend_flex,
}
"""Ways to compute attention over a stream, by name."""
