"""Attention over a packed stream in small blocks of queries: what serves a CPU best.

A block of queries meets only the keys it may see (causality, window), key heads are not repeated for their groups of
query heads, and the weights are made again in the backward pass, so that no scores are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from prefboost.packing.attention import Asked
    from prefboost.packing.stream import Packed

__all__ = ["BLOCK", "attend_blocked"]

BLOCK = 64
"""Queries of a block. Half as many and twice as many cost more (docs/log.md)."""


@dataclass(frozen=True)
class _Block:
    """Queries ``first .. last`` of the stream and their keys ``low .. high`` of their node's path."""

    first: int
    last: int
    low: int
    high: int
    hidden: Tensor | None


@dataclass(frozen=True)
class _Path:
    """A node's path: its runs of the stream, and the blocks of the node's queries."""

    runs: tuple[slice, ...]
    blocks: tuple[_Block, ...]


def attend_blocked(query: Tensor, key: Tensor, value: Tensor, packed: Packed, asked: Asked) -> Tensor:
    """See `prefboost.packing.attention.attend`; scores must be plain."""
    made = ("blocked", asked.window, asked.chunk)
    if made not in packed.made:
        packed.made[made] = tuple(_paths(packed, asked.window, asked.chunk, query.device))
    scale = asked.scale if asked.scale is not None else float(query.shape[-1] ** -0.5)
    found: Tensor = _Blocked.apply(query[0], key[0], value[0], packed.made[made], scale)  # type: ignore[no-untyped-call]
    return found[None]


def _paths(packed: Packed, window: int | None, chunk: int | None, device: torch.device) -> Iterator[_Path]:
    for number, node in enumerate(packed.nodes):
        runs = tuple(slice(packed.nodes[i].start, packed.nodes[i].end) for i in (*node.ancestors, number))
        blocks = []
        for first in range(node.start, node.end, BLOCK):
            last = min(node.end, first + BLOCK)
            at = node.depth + first - node.start
            high = at + last - first
            low = 0 if window is None else max(0, at - window + 1)
            low = low if chunk is None else max(low, at // chunk * chunk)
            blocks.append(_Block(first, last, low, high, _hidden(range(at, high), low, window, chunk, device)))
        yield _Path(runs, tuple(blocks))


def _hidden(queries: range, low: int, window: int | None, chunk: int | None, device: torch.device) -> Tensor | None:
    """[queries, keys from ``low``], True where a key is not seen; None where all are."""
    at = torch.arange(queries.start, queries.stop, device=device)[:, None]
    keys = torch.arange(low, queries.stop, device=device)[None, :]
    hidden = keys > at
    if window is not None:
        hidden = hidden | (at - keys >= window)
    if chunk is not None:
        hidden = hidden | (at // chunk != keys // chunk)
    return hidden if bool(hidden.any()) else None


class _Blocked(torch.autograd.Function):
    """query [H, T, D], key [G, T, D], value [G, T, E] -> [T, H, E]."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, paths: tuple[_Path, ...], scale: float) -> Tensor:
        heads, tokens, _ = query.shape
        output = query.new_empty(tokens, heads, value.shape[-1])
        for path in paths:
            keys, values = _along(key, path), _along(value, path)
            for block in path.blocks:
                weights, _ = _weights(query, keys, block, scale)
                product = torch.bmm(weights, values[:, block.low : block.high])
                output[block.first : block.last] = _ungrouped(product, heads).transpose(0, 1)
        ctx.save_for_backward(query, key, value, output)
        ctx.paths, ctx.scale = paths, scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, output = ctx.saved_tensors
        heads, groups = query.shape[0], key.shape[0]
        grad_query, grad_key, grad_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        wide = torch.promote_types(grad.dtype, torch.float32)
        shared = (grad.to(wide) * output.to(wide)).sum(-1).to(query.dtype).transpose(0, 1)  # [H, T]
        for path in ctx.paths:
            keys, values = _along(key, path), _along(value, path)
            change_keys, change_values = torch.zeros_like(keys), torch.zeros_like(values)
            for block in path.blocks:
                seen = slice(block.low, block.high)
                rows = slice(block.first, block.last)
                weights, queries = _weights(query, keys, block, ctx.scale)
                given = _grouped(grad[rows].transpose(0, 1), groups)
                change_values[:, seen] += torch.bmm(weights.transpose(1, 2), given)
                change = torch.bmm(given, values[:, seen].transpose(1, 2))
                change.sub_(_grouped(shared[:, rows, None], groups)).mul_(weights)
                grad_query[:, rows] = _ungrouped(torch.bmm(change, keys[:, seen]), heads) * ctx.scale
                change_keys[:, seen] += torch.bmm(change.transpose(1, 2), queries)
            _give_back(grad_key, change_keys, path)
            _give_back(grad_value, change_values, path)
        return grad_query, grad_key, grad_value, None, None


def _along(tensor: Tensor, path: _Path) -> Tensor:
    """[G, T, D] -> [G, length of the path, D]."""
    parts = [tensor[:, run] for run in path.runs]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _give_back(total: Tensor, change: Tensor, path: _Path) -> None:
    start = 0
    for run in path.runs:
        length = run.stop - run.start
        total[:, run] += change[:, start : start + length]
        start += length


def _grouped(rows: Tensor, groups: int) -> Tensor:
    """[H, R, D] -> [G, H / G * R, D]: query heads of a key head stand below each other."""
    return rows.reshape(groups, -1, rows.shape[-1])


def _ungrouped(rows: Tensor, heads: int) -> Tensor:
    return rows.view(heads, -1, rows.shape[-1])


def _weights(query: Tensor, keys: Tensor, block: _Block, scale: float) -> tuple[Tensor, Tensor]:
    """Attention weights [G, H / G * R, keys] of a block, and its scaled queries [G, H / G * R, D]."""
    queries = _grouped(query[:, block.first : block.last] * scale, keys.shape[0])
    scores = torch.bmm(queries, keys[:, block.low : block.high].transpose(1, 2))
    if block.hidden is not None:
        by_head = scores.view(query.shape[0], block.last - block.first, -1)
        by_head.masked_fill_(block.hidden, -torch.inf)
    return scores.softmax(-1), queries
