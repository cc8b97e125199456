"""Attention over a packed stream in blocks of queries: what serves a CPU best.

A block of queries meets only the keys it may see (causality, window), and key heads are not repeated for their groups
of query heads. Queries are put in the order of the blocks once a layer, and keys in the order of the paths, so that
every product is one call over memory in one piece. Weights are kept for the backward pass where they are small, and
made again where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from prefboost.packing.trie import Node

if TYPE_CHECKING:
    from prefboost.packing.attention_kind import AttentionKind
    from prefboost.packing.stream import Packed

__all__ = ["BLOCKS", "CHECKPOINTED", "attend_blocked"]

BLOCKS = {2: 256, 4: 128, 8: 128}
"""Queries of a block, by the bytes of a number: half as many and twice as many cost more."""

KEY_MULTIPLE = 32
"""Keys of a block begin and end at multiples of this: a softmax adds up what is left over in another order, and where
a block ends depends on what else is in the stream."""

KEPT_BYTES = 48 * 2**20
"""Most bytes of weights that a layer keeps for the backward pass."""

KEPT_IN_ALL_BYTES = 4 * KEPT_BYTES
"""Most bytes that all layers keep together: without gradient checkpointing, all of theirs wait for the backward one."""

KEPT_A_TOKEN_BYTES = KEPT_IN_ALL_BYTES // 4096
"""The same for each token of the stream: whoever asks for small micro-batches is short of memory."""

CHECKPOINTED = "recomputed"
"""Key of ``Packed.cache``: whether layers are computed again for the backward pass, each when its turn has come."""


@dataclass
class _Kept:
    """Bytes of weights that layers keep now for a backward pass to come."""

    bytes: int = 0


@dataclass(frozen=True)
class _Block:
    """Queries ``first .. last`` of the stream and their keys ``low .. high`` of the path.

    Args:
        hidden: [queries, keys from ``hidden_from``], True where a key is not seen; None where all are.
    """

    first: int
    last: int
    low: int
    high: int
    hidden_from: int
    hidden: Tensor | None


@dataclass(frozen=True)
class _Path:
    """A node's path: its runs of the stream, and the blocks of the node's queries."""

    runs: tuple[slice, ...]
    blocks: tuple[_Block, ...]

    @cached_property
    def keys(self) -> int:
        """Tokens of the path, and keys that nobody sees up to a multiple of `KEY_MULTIPLE`."""
        return _rounded_up(sum(run.stop - run.start for run in self.runs))


@dataclass(frozen=True)
class _Layout:
    """Where things stand for H query heads and G key heads.

    Args:
        queries: [T * H], rows of [T, H] in the order of the blocks; within a block by key head, query head, token.
        back: its inverse.
        keys: rows of [T, G] in the order of the paths; within a path by key head, token.
        groups: G.
        scale: of the scores.
        kept: by the layers that attend alike.
    """

    paths: tuple[_Path, ...]
    queries: Tensor
    back: Tensor
    keys: Tensor
    heads: int
    groups: int
    scale: float
    kept: _Kept = field(default_factory=_Kept)


def attend_blocked(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: AttentionKind) -> Tensor:
    """See `prefboost.packing.attention.attend`; scores must be plain."""
    heads, groups = query.shape[1], key.shape[1]
    scale = asked.scale if asked.scale is not None else float(query.shape[-1] ** -0.5)
    size = BLOCKS[query.element_size()]
    made = ("blocked", asked.window, asked.chunk, heads, groups, scale, size)
    if made not in packed.cache:
        paths = tuple(_paths(packed.nodes, asked, size, query.device))
        packed.cache[made] = _layout(paths, heads, groups, scale)
    by_token = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    apart = packed.cache.get(CHECKPOINTED, False)
    found: Tensor = _Blocked.apply(*by_token, packed.cache[made], apart)  # type: ignore[no-untyped-call]
    return found[None]


def _paths(nodes: tuple[Node, ...], asked: AttentionKind, size: int, device: torch.device) -> Iterator[_Path]:
    window, chunk = asked.window, asked.chunk
    for number, node in enumerate(nodes):
        runs = tuple(slice(nodes[i].start, nodes[i].end) for i in (*node.ancestors, number))
        blocks = []
        for first in range(node.start, node.end, size):
            last = min(node.end, first + size)
            at = node.depth + first - node.start
            low = 0 if window is None else max(0, at - window + 1)
            low = low if chunk is None else max(low, at // chunk * chunk)
            low, high = low // KEY_MULTIPLE * KEY_MULTIPLE, _rounded_up(at + last - first)
            hidden = _hidden(range(at, at + last - first), range(low, high), window, chunk)
            begin = int(hidden.any(0).to(torch.uint8).argmax())
            useful = hidden[:, begin:].to(device) if bool(hidden.any()) else None
            blocks.append(_Block(first, last, low, high, begin, useful))
        yield _Path(runs, tuple(blocks))


def _rounded_up(keys: int) -> int:
    return -(-keys // KEY_MULTIPLE) * KEY_MULTIPLE


def _hidden(queries: range, seen: range, window: int | None, chunk: int | None) -> Tensor:
    """[queries, keys], True where a key is not seen."""
    at = torch.arange(queries.start, queries.stop)[:, None]
    keys = torch.arange(seen.start, seen.stop)[None, :]
    hidden = keys > at
    if window is not None:
        hidden = hidden | (at - keys >= window)
    if chunk is not None:
        hidden = hidden | (at // chunk != keys // chunk)
    return hidden


def _layout(paths: tuple[_Path, ...], heads: int, groups: int, scale: float) -> _Layout:
    by_head, by_group = torch.arange(heads)[:, None], torch.arange(groups)[:, None]
    queries, keys = [], []
    for path in paths:
        rows = torch.zeros(path.keys, dtype=torch.int64)
        taken = torch.cat([torch.arange(run.start, run.stop) for run in path.runs])
        rows[: len(taken)] = taken
        keys.append((rows[None, :] * groups + by_group).reshape(-1))
        for block in path.blocks:
            queries.append((torch.arange(block.first, block.last)[None, :] * heads + by_head).reshape(-1))
    order = torch.cat(queries)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order))
    return _Layout(paths, order, back, torch.cat(keys), heads, groups, scale)


class _Blocked(torch.autograd.Function):
    """query [T, H, D], key [T, G, D], value [T, G, E] -> [T, H, E]; ``apart`` where layers are computed again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: _Layout, apart: bool) -> Tensor:
        queries = _rows(query).index_select(0, layout.queries).mul_(layout.scale)
        keys, values = (_rows(tensor).index_select(0, layout.keys) for tensor in (key, value))
        outputs = queries.new_empty(len(queries), value.shape[-1])
        kept: list[Tensor] = []
        # A layer that is computed again has to keep as much as it did the first time, whatever the others do meanwhile.
        in_all = min(KEPT_IN_ALL_BYTES, KEPT_A_TOKEN_BYTES * len(query)) - layout.kept.bytes
        room = KEPT_BYTES if apart else min(KEPT_BYTES, in_all)
        room = room if any(ctx.needs_input_grad) else 0
        for block, part in _parts(layout, queries, keys, values, outputs):
            weights = _weights(part[0], part[1], block, layout.groups)
            torch.bmm(weights, part[2], out=part[3])
            room -= _bytes_of([weights])
            kept += [weights] if room >= 0 else []
        found = outputs.index_select(0, layout.back).view(*query.shape[:2], -1)
        ctx.save_for_backward(queries, keys, values, found, *kept)  # what follows keeps ``found`` too, not ``outputs``
        ctx.layout, ctx.kept_bytes = layout, 0 if apart else _bytes_of(kept)
        layout.kept.bytes += ctx.kept_bytes
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        queries, keys, values, found, *kept = ctx.saved_tensors
        layout: _Layout = ctx.layout
        layout.kept.bytes -= ctx.kept_bytes
        given = _rows(grad).index_select(0, layout.queries)
        wide = torch.promote_types(grad.dtype, torch.float32)
        shared = (grad.to(wide) * found.to(wide)).sum(-1).view(-1, 1).index_select(0, layout.queries).to(queries.dtype)
        change_queries, change_keys, change_values = (
            torch.empty_like(queries),
            torch.zeros_like(keys),
            torch.zeros_like(values),
        )
        changes = _parts(layout, change_queries, change_keys, change_values, shared)
        for number, ((block, part), (_, change)) in enumerate(
            zip(_parts(layout, queries, keys, values, given), changes, strict=True)
        ):
            query, key, value, upper = part
            weights = kept[number] if number < len(kept) else _weights(query, key, block, layout.groups)
            change[2].baddbmm_(weights.transpose(1, 2), upper)
            scores = torch.bmm(upper, value.transpose(1, 2)).sub_(change[3]).mul_(weights)
            torch.bmm(scores, key, out=change[0])
            change[1].baddbmm_(scores.transpose(1, 2), query)
        grad_query = change_queries.mul_(layout.scale).index_select(0, layout.back).view(*grad.shape[:2], -1)
        return grad_query, _gathered(change_keys, layout), _gathered(change_values, layout), None, None


def _bytes_of(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _rows(tensor: Tensor) -> Tensor:
    """[T, H, D] -> [T * H, D]."""
    return tensor.reshape(-1, tensor.shape[-1])


def _parts(
    layout: _Layout, by_block: Tensor, keys: Tensor, values: Tensor, also: Tensor
) -> Iterator[tuple[_Block, tuple[Tensor, Tensor, Tensor, Tensor]]]:
    """For each block: its rows [G, H / G * R, .], keys and values it sees [G, keys, .], and its rows of ``also``."""
    row, start = 0, 0
    for path in layout.paths:
        end = start + path.keys * layout.groups
        seen_keys, seen_values = (tensor[start:end].view(layout.groups, path.keys, -1) for tensor in (keys, values))
        start = end
        for block in path.blocks:
            count = (block.last - block.first) * layout.heads
            mine, too = (
                tensor[row : row + count].view(layout.groups, -1, tensor.shape[-1]) for tensor in (by_block, also)
            )
            row += count
            yield block, (mine, seen_keys[:, block.low : block.high], seen_values[:, block.low : block.high], too)


def _weights(query: Tensor, key: Tensor, block: _Block, groups: int) -> Tensor:
    """Attention weights [G, H / G * R, keys] of scaled queries."""
    scores = torch.bmm(query, key.transpose(1, 2))
    if block.hidden is not None:
        by_head = scores.view(-1, block.last - block.first, scores.shape[-1])
        by_head[:, :, block.hidden_from :].masked_fill_(block.hidden, -torch.inf)
    return scores.softmax(-1)


def _gathered(changes: Tensor, layout: _Layout) -> Tensor:
    """What all paths say of each row, added up: [T, G, D]."""
    tokens = max(run.stop for path in layout.paths for run in path.runs)
    total = changes.new_zeros(layout.groups, tokens, changes.shape[-1])
    start = 0
    for path in layout.paths:
        end = start + path.keys * layout.groups
        part = changes[start:end].view(layout.groups, path.keys, -1)
        start, at = end, 0
        for run in path.runs:
            length = run.stop - run.start
            total[:, run] += part[:, at : at + length]
            at += length
    return total.transpose(0, 1)
