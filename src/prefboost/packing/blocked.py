"""Attention over a packed stream in blocks of queries: the fastest way on a CPU.

A block of queries meets only the keys that it may see (causality, window), and key heads are not repeated for their
groups of query heads. Once per layer, queries are sorted by block and keys by path, so that every product is one call
over contiguous memory. Attention weights are saved for the backward pass where they are small, and computed again
where they are not.

Axes, which the names of tensors inside a block carry: G key heads; R rows per key head, which are the block's queries
times the H / G query heads of the group; N keys of the block; D and E numbers per key and value. T is tokens.
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
"""Queries per block, by the bytes of a number: half as many and twice as many cost more."""

KEY_MULTIPLE = 32
"""Keys of a block begin and end at multiples of this. A softmax adds up the remainder of a row in another order, and
where a block ends depends on what else is in the stream; with whole multiples the softmax does not depend on it, nor do
products in bf16 units. Products in float32, and in bf16 without such units, can differ in the last bit."""

SAVED_BYTES = 48 * 2**20
"""Most bytes of weights that one layer saves for the backward pass."""

SAVED_BYTES_OF_LAYERS = 4 * SAVED_BYTES
"""Most bytes that all layers save together: without gradient checkpointing all of them wait for the backward pass."""

SAVED_BYTES_PER_TOKEN = SAVED_BYTES_OF_LAYERS // 4096
"""The same per token of the stream: whoever chooses small micro-batches is short of memory."""

CHECKPOINTED = "checkpointed"
"""Key of ``Packed.cache``: whether layers are computed again for the backward pass, each when its turn has come."""


@dataclass
class _SavedBytes:
    """Bytes of weights that layers have saved and whose backward pass has not begun."""

    count: int = 0


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
    """A node's path from the root: its runs of the stream, and the blocks of the node's queries."""

    runs: tuple[slice, ...]
    blocks: tuple[_Block, ...]

    @cached_property
    def keys(self) -> int:
        """Tokens of the path, filled up with keys that nobody sees to a multiple of `KEY_MULTIPLE`."""
        return _round_up(sum(run.stop - run.start for run in self.runs))


@dataclass(frozen=True)
class _Layout:
    """Order of queries and keys for H query heads and G key heads.

    Args:
        query_order: [T * H], rows of [T, H] in the order of the blocks; in a block by key head, query head, token.
        query_inverse: [T * H], the inverse permutation.
        key_order: rows of [T, G] in the order of the paths; in a path by key head, token. Rows occur once per path.
        heads: H.
        groups: G.
        scale: of the scores.
        saved: shared by the layers of the same kind of attention.
    """

    paths: tuple[_Path, ...]
    query_order: Tensor
    query_inverse: Tensor
    key_order: Tensor
    heads: int
    groups: int
    scale: float
    saved: _SavedBytes = field(default_factory=_SavedBytes)


def attend_blocked(query: Tensor, key: Tensor, value: Tensor, packed: Packed, kind: AttentionKind) -> Tensor:
    """Attend as `prefboost.packing.attention.attend` specifies; scores must be plain."""
    heads, groups = query.shape[1], key.shape[1]
    scale = kind.scale if kind.scale is not None else float(query.shape[-1] ** -0.5)
    size = BLOCKS[query.element_size()]
    # Layers of one kind share a layout, and with it the count of what they save.
    cache_key = ("blocked", kind.window, kind.chunk, heads, groups, scale, size)
    if cache_key not in packed.cache:
        paths = tuple(_plan_paths(packed.nodes, kind, size, query.device))
        head_at, group_at = torch.arange(heads)[:, None], torch.arange(groups)[:, None]
        queries, keys = [], []
        for path in paths:
            # Keys that fill the path up repeat row 0: any row will do, since the mask hides them from every query.
            rows = torch.zeros(path.keys, dtype=torch.int64)
            real = torch.cat([torch.arange(run.start, run.stop) for run in path.runs])
            rows[: len(real)] = real
            keys.append((rows[None, :] * groups + group_at).reshape(-1))
            queries += [
                (torch.arange(block.first, block.last)[None, :] * heads + head_at).reshape(-1) for block in path.blocks
            ]
        order = torch.cat(queries)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order))
        packed.cache[cache_key] = _Layout(paths, order, inverse, torch.cat(keys), heads, groups, scale)
    by_token = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    is_checkpointed = packed.cache.get(CHECKPOINTED, False)
    output: Tensor = _Blocked.apply(*by_token, packed.cache[cache_key], is_checkpointed)  # type: ignore[no-untyped-call]
    return output[None]


def _plan_paths(nodes: tuple[Node, ...], kind: AttentionKind, size: int, device: torch.device) -> Iterator[_Path]:
    window, chunk = kind.window, kind.chunk
    for number, node in enumerate(nodes):
        runs = tuple(slice(nodes[i].start, nodes[i].end) for i in (*node.ancestors, number))
        blocks = []
        for first in range(node.start, node.end, size):
            last = min(node.end, first + size)
            # Positions on the path: the block's first query stands at ``at``, and sees nothing before ``low``.
            at = node.depth + first - node.start
            low = 0 if window is None else max(0, at - window + 1)
            low = low if chunk is None else max(low, at // chunk * chunk)
            low, high = low // KEY_MULTIPLE * KEY_MULTIPLE, _round_up(at + last - first)
            hidden = ~kind.mark_seen(range(at, at + last - first), range(low, high))
            # Columns before the first hidden key need no mask: for plain causal attention that is all but the last few.
            hidden_from = int(hidden.any(0).to(torch.uint8).argmax())
            useful = hidden[:, hidden_from:].to(device) if bool(hidden.any()) else None
            blocks.append(_Block(first, last, low, high, hidden_from, useful))
        yield _Path(runs, tuple(blocks))


def _round_up(keys: int) -> int:
    return -(-keys // KEY_MULTIPLE) * KEY_MULTIPLE


class _Blocked(torch.autograd.Function):
    """Attention of query [T, H, D], key [T, G, D] and value [T, G, E] to output [T, H, E], with its own backward pass.

    ``is_checkpointed`` says that layers are computed again for the backward pass, one at a time.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, layout: _Layout, is_checkpointed: bool) -> Tensor:
        # The scale goes into the queries, which are copied anyhow, and not into the scores, which are many more.
        queries = _flatten_heads(query).index_select(0, layout.query_order).mul_(layout.scale)
        keys, values = (_flatten_heads(tensor).index_select(0, layout.key_order) for tensor in (key, value))
        outputs = queries.new_empty(len(queries), value.shape[-1])
        saved_weights: list[Tensor] = []
        # A layer that is computed again must save as much as it did the first time, whatever the others do meanwhile:
        # its budget cannot depend on the common count.
        budget_of_layers = min(SAVED_BYTES_OF_LAYERS, SAVED_BYTES_PER_TOKEN * len(query)) - layout.saved.count
        budget = SAVED_BYTES if is_checkpointed else min(SAVED_BYTES, budget_of_layers)
        budget = budget if any(ctx.needs_input_grad) else 0
        for block, (query_GRD, key_GND, value_GNE, output_GRE) in _split_blocks(layout, queries, keys, values, outputs):
            weights_GRN = _compute_weights(query_GRD, key_GND, block)
            torch.bmm(weights_GRN, value_GNE, out=output_GRE)
            budget -= _count_bytes([weights_GRN])
            saved_weights += [weights_GRN] if budget >= 0 else []
        output = outputs.index_select(0, layout.query_inverse).view(*query.shape[:2], -1)
        # The next layer saves ``output`` as well, so saving it costs nothing; ``outputs`` would cost its size.
        ctx.save_for_backward(queries, keys, values, output, *saved_weights)
        ctx.layout, ctx.saved_bytes = layout, 0 if is_checkpointed else _count_bytes(saved_weights)
        layout.saved.count += ctx.saved_bytes
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Derive attention by hand (the equations of FlashAttention, arXiv 2205.14135, appendix B.2).

        Per key head, with Q the scaled queries [R, D], K [N, D], V [N, E] and the gradient dO [R, E] of the output:
        S = Q K^T, P = softmax(S), O = P V.
        """
        queries, keys, values, output, *saved_weights = ctx.saved_tensors
        layout: _Layout = ctx.layout
        layout.saved.count -= ctx.saved_bytes
        grad_outputs = _flatten_heads(grad_output).index_select(0, layout.query_order)
        # delta = rowsum(P * dP) is wanted per query below. With dP = dO V^T it is rowsum(dO * (P V)) = rowsum(dO * O),
        # which needs no weights. The sum runs in float32 at least: half precision would lose it.
        wide = torch.promote_types(grad_output.dtype, torch.float32)
        delta = (grad_output.to(wide) * output.to(wide)).sum(-1)
        deltas = delta.view(-1, 1).index_select(0, layout.query_order).to(queries.dtype)
        # Keys and values are seen by several blocks, which add to their gradients; every query is in one block.
        grad_queries = torch.empty_like(queries)
        grad_keys, grad_values = torch.zeros_like(keys), torch.zeros_like(values)
        inputs = _split_blocks(layout, queries, keys, values, grad_outputs)
        results = _split_blocks(layout, grad_queries, grad_keys, grad_values, deltas)
        for number, ((block, of_inputs), (_, of_results)) in enumerate(zip(inputs, results, strict=True)):
            query_GRD, key_GND, value_GNE, grad_output_GRE = of_inputs
            grad_query_GRD, grad_key_GND, grad_value_GNE, delta_GR1 = of_results
            if number < len(saved_weights):
                weights_GRN = saved_weights[number]
            else:
                weights_GRN = _compute_weights(query_GRD, key_GND, block)
            # O = P V, hence dV = P^T dO.
            grad_value_GNE.baddbmm_(weights_GRN.transpose(1, 2), grad_output_GRE)
            # O = P V, hence dP = dO V^T; the Jacobian of softmax is diag(p) - p p^T, hence dS = P * (dP - delta).
            grad_scores_GRN = torch.bmm(grad_output_GRE, value_GNE.transpose(1, 2)).sub_(delta_GR1).mul_(weights_GRN)
            # S = Q K^T, hence dQ = dS K and dK = dS^T Q.
            torch.bmm(grad_scores_GRN, key_GND, out=grad_query_GRD)
            grad_key_GND.baddbmm_(grad_scores_GRN.transpose(1, 2), query_GRD)
        # Q = scale * query, hence d query = scale * dQ. The scale of dK is in the scaled queries already.
        grad_query = grad_queries.mul_(layout.scale).index_select(0, layout.query_inverse)
        return (
            grad_query.view(*grad_output.shape[:2], -1),
            _add_up_paths(grad_keys, layout),
            _add_up_paths(grad_values, layout),
            None,
            None,
        )


def _count_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _flatten_heads(tensor: Tensor) -> Tensor:
    """Reshape [T, H, D] to [T * H, D]."""
    return tensor.reshape(-1, tensor.shape[-1])


def _split_blocks(
    layout: _Layout, by_query: Tensor, keys: Tensor, values: Tensor, also_by_query: Tensor
) -> Iterator[tuple[_Block, tuple[Tensor, Tensor, Tensor, Tensor]]]:
    """Yield every block with its views [G, R, .], [G, N, D], [G, N, E] and [G, R, .] of the four tensors.

    All are views: what is written into them is written into the tensors.
    """
    row, start = 0, 0
    for path in layout.paths:
        end = start + path.keys * layout.groups
        path_keys, path_values = (tensor[start:end].view(layout.groups, path.keys, -1) for tensor in (keys, values))
        start = end
        for block in path.blocks:
            count = (block.last - block.first) * layout.heads
            first, second = (
                tensor[row : row + count].view(layout.groups, -1, tensor.shape[-1])
                for tensor in (by_query, also_by_query)
            )
            row += count
            yield block, (first, path_keys[:, block.low : block.high], path_values[:, block.low : block.high], second)


def _compute_weights(query_grd: Tensor, key_gnd: Tensor, block: _Block) -> Tensor:
    """Return attention weights [G, R, N] of scaled queries [G, R, D] and keys [G, N, D]."""
    scores = torch.bmm(query_grd, key_gnd.transpose(1, 2))
    if block.hidden is not None:
        # R is query head times query, so that this view is [H, queries, N] and one mask serves all heads.
        by_head = scores.view(-1, block.last - block.first, scores.shape[-1])
        by_head[:, :, block.hidden_from :].masked_fill_(block.hidden, -torch.inf)
    return scores.softmax(-1)


def _add_up_paths(grad_by_path: Tensor, layout: _Layout) -> Tensor:
    """Add up what every path says of a row: from the order of the paths to [T, G, D].

    The order of the additions is that of the paths, so that the result does not change from run to run.
    """
    tokens = max(run.stop for path in layout.paths for run in path.runs)
    total = grad_by_path.new_zeros(layout.groups, tokens, grad_by_path.shape[-1])
    start = 0
    for path in layout.paths:
        end = start + path.keys * layout.groups
        by_group = grad_by_path[start:end].view(layout.groups, path.keys, -1)
        start, at = end, 0
        for run in path.runs:
            length = run.stop - run.start
            total[:, run] += by_group[:, at : at + length]
            at += length
    return total.transpose(0, 1)
