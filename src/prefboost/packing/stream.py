"""`Packed`: sequences as one flat stream of tensors, with what attention and the head need of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefboost.packing.trie import MIN_SHARED, Node, TokenIds, build_trie

__all__ = ["Packed", "pack", "measure_stream"]


@dataclass(frozen=True, eq=False)
class Packed:
    """S sequences in a stream of T tokens; C different predictions are scored.

    Args:
        input_ids: [T].
        position_ids: [T], each token's position in its own sequences.
        source: [C], rows of the stream whose hidden state predicts a token of a completion.
        targets: [C], the tokens predicted.
        item: [K], for each token of each completion, which of the C predictions it is (equal ones are scored once).
        owner: [K], the sequence of each.
        ends: [S], row of the last token fed of each sequence.
        uses: [T], sequences through each token.
        sequences: S.
        nodes: runs of the stream; see `Node`.
        subtree_ends: [N], one after the last row of each node's subtree.
        unshared_tokens: tokens fed if nothing were shared.
        padded_tokens: S times the longest sequence, its last token included: what padding would have cost.
        lengths: [S], tokens of each sequence, its last token included.
        cache: what attention derives from this stream, by name; filled at first use.
    """

    input_ids: Tensor
    position_ids: Tensor
    source: Tensor
    targets: Tensor
    item: Tensor
    owner: Tensor
    ends: Tensor
    uses: Tensor
    sequences: int
    nodes: tuple[Node, ...]
    subtree_ends: tuple[int, ...]
    unshared_tokens: int
    padded_tokens: int
    lengths: tuple[int, ...] = ()
    cache: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def tokens(self) -> int:
        """Count the tokens that are computed, T."""
        return int(self.input_ids.shape[0])

    def to(self, device: torch.device | str) -> Packed:
        """Move the stream to a device; its cache stays behind, since it holds tensors of the other one."""
        tensors = ("input_ids", "position_ids", "source", "targets", "item", "owner", "ends", "uses")
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in tensors}
        return replace(self, cache={}, **moved)


def pack(
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    min_shared: int = MIN_SHARED,
    share: bool = True,
    groups: Sequence[int] | None = None,
) -> Packed:
    """Put S sequences into one stream without padding; what they share at their beginning is fed once.

    The last token of a completion predicts nothing and is not fed.

    Args:
        prompts: token ids; not empty.
        completions: token ids; an empty completion has log-prob 0, and its whole prompt is fed.
        min_shared: fewer common tokens are not shared (>= 1).
        share: False feeds every sequence by itself (for comparison).
        groups: [S], one number per sequence; sequences of different numbers share nothing. None: all may share.

    Raises:
        ValueError: a prompt is empty.
    """
    # The first token of a completion is predicted by the last one of its prompt.
    bare = next((number for number, prompt in enumerate(prompts) if not len(prompt)), None)
    if bare is not None:
        raise ValueError(f"prompt {bare} is empty; a completion needs a token before it")
    trie = build_trie(_list_sequences(prompts, completions), min_shared=min_shared, share=share, groups=groups)
    sources, targets, owners = [], [], []
    for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        # The token at position p is predicted by the hidden state at p - 1, so the prompt's last row is the first.
        sources.append(trie.rows[number][len(prompt) - 1 :] if len(completion) else np.zeros(0, np.int64))
        targets.append(np.asarray(completion, dtype=np.int64))
        owners.append(np.full(len(completion), number))
    source, target = np.concatenate(sources), np.concatenate(targets)
    # Completions that share a beginning share its predictions: the head scores each (row, target) once.
    pairs, item = np.unique(np.stack([source, target]), axis=1, return_inverse=True)
    lengths = [len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True)]
    return Packed(
        input_ids=torch.from_numpy(trie.tokens),
        position_ids=torch.from_numpy(trie.positions),
        source=torch.from_numpy(pairs[0].copy()),
        targets=torch.from_numpy(pairs[1].copy()),
        item=torch.from_numpy(item.reshape(-1).copy()),
        owner=torch.from_numpy(np.concatenate(owners)),
        ends=torch.tensor([int(rows[-1]) for rows in trie.rows]),
        # How many sequences go through a row: what a mixture's balance weights it by.
        uses=torch.from_numpy(np.bincount(np.concatenate(trie.rows), minlength=len(trie.tokens))),
        sequences=len(prompts),
        nodes=trie.nodes,
        subtree_ends=trie.subtree_ends,
        unshared_tokens=sum(len(rows) for rows in trie.rows),
        padded_tokens=len(lengths) * max(lengths),
        lengths=tuple(lengths),
    )


def measure_stream(
    prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], *, min_shared: int = MIN_SHARED
) -> int:
    """Count the tokens that `pack` would feed."""
    return len(build_trie(_list_sequences(prompts, completions), min_shared=min_shared).tokens)


def _list_sequences(prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]) -> list[TokenIds]:
    """Join prompt and completion without its last token, which predicts nothing."""
    return [
        np.concatenate([np.asarray(prompt, dtype=np.int64), np.asarray(completion[:-1], dtype=np.int64)])
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
