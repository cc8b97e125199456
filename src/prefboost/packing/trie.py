"""Sequences as a trie: what they share at their beginning stands once in one flat stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["MIN_SHARED", "Node", "Trie", "build_trie"]

TokenIds = npt.NDArray[np.int64]

MIN_SHARED = 16
"""Shorter beginnings are not shared: the attention of one more node would cost more than the tokens save."""


@dataclass(frozen=True)
class Node:
    """A run of the stream that all sequences through it share.

    Args:
        start: first row of the stream.
        end: one after its last row.
        depth: position of its first token in the sequences through it.
        ancestors: nodes before it on the way from the root, the root first.
    """

    start: int
    end: int
    depth: int
    ancestors: tuple[int, ...]


@dataclass(frozen=True)
class Trie:
    """A flat stream in depth-first order: ancestors stand before their descendants, and a subtree is one run.

    Args:
        tokens: [T].
        positions: [T], position of each token in its sequences.
        nodes: in the order of the stream.
        subtree_ends: [N], one after the last row of each node's subtree.
        rows: for each sequence, the rows [its length] of the stream that hold it.
    """

    tokens: TokenIds
    positions: TokenIds
    nodes: tuple[Node, ...]
    subtree_ends: tuple[int, ...]
    rows: tuple[TokenIds, ...]


@dataclass(eq=False)
class _Branch:
    """A node while the trie grows; ``members`` are the sequences that end in it, or at its end."""

    tokens: TokenIds
    children: list[_Branch] = field(default_factory=list)
    members: list[int] = field(default_factory=list)


def build_trie(
    sequences: Sequence[Sequence[int] | TokenIds],
    *,
    min_shared: int = MIN_SHARED,
    share: bool = True,
    apart: Sequence[int] | None = None,
) -> Trie:
    """Put sequences into one stream.

    Args:
        sequences: S sequences of token ids, none of them empty.
        min_shared: a beginning shared by two sequences is stored once if it has at least so many tokens (>= 1), or if
            it is all that is left of one of them.
        share: False gives every sequence a run of its own.
        apart: a number for each sequence; those of different numbers share nothing.

    Raises:
        ValueError: a sequence is empty.
    """
    roots: dict[int, _Branch] = {}
    arrays = [np.ascontiguousarray(sequence, dtype=np.int64) for sequence in sequences]
    for member, tokens in enumerate(arrays):
        if not len(tokens):
            raise ValueError(f"sequence {member} is empty; each needs at least one token")
        root = roots.setdefault(apart[member] if apart is not None else 0, _Branch(np.zeros(0, np.int64)))
        if share:
            _insert(root, tokens, member, min_shared)
        else:
            root.children.append(_Branch(tokens, members=[member]))
    children = [child for root in roots.values() for child in root.children]
    return _flatten(_Branch(np.zeros(0, np.int64), children), arrays)


def _insert(root: _Branch, tokens: TokenIds, member: int, min_shared: int) -> None:
    branch, rest = root, tokens
    while True:
        child, common = _closest(branch.children, rest)
        if child is None or common < min(min_shared, len(rest), len(child.tokens)):
            branch.children.append(_Branch(rest, members=[member]))
            return
        if common == len(rest):
            child.members.append(member)
            return
        if common < len(child.tokens):
            _split(child, common)
        branch, rest = child, rest[common:]


def _closest(children: Sequence[_Branch], tokens: TokenIds) -> tuple[_Branch | None, int]:
    """The child with the longest common beginning, and its length."""
    best: _Branch | None = None
    longest = 0
    for child in children:
        if child.tokens[0] == tokens[0]:
            common = _shared_length(child.tokens, tokens)
            if common > longest:
                best, longest = child, common
    return best, longest


def _shared_length(first: TokenIds, second: TokenIds) -> int:
    length = min(len(first), len(second))
    different = first[:length] != second[:length]
    found = int(different.argmax())
    return found if different[found] else length


def _split(branch: _Branch, at: int) -> None:
    """Cut a branch in two: what follows ``at`` becomes its only child. Members stay at the end that holds them."""
    tail = _Branch(branch.tokens[at:], branch.children, branch.members)
    branch.tokens, branch.children, branch.members = branch.tokens[:at], [tail], []


def _flatten(root: _Branch, arrays: Sequence[TokenIds]) -> Trie:
    nodes: list[Node] = []
    parts: list[TokenIds] = []
    ends: list[int] = []
    rows: list[TokenIds] = [np.zeros(0, np.int64)] * len(arrays)
    length = 0
    stack: list[tuple[_Branch, tuple[int, ...], int, bool]] = [(child, (), 0, False) for child in root.children[::-1]]
    while stack:
        branch, ancestors, at, leaving = stack.pop()
        if leaving:
            ends[at] = length
            continue
        number = len(nodes)
        node = Node(length, length + len(branch.tokens), at, ancestors)
        nodes.append(node)
        parts.append(branch.tokens)
        ends.append(0)
        length = node.end
        path = np.concatenate([np.arange(nodes[i].start, nodes[i].end) for i in (*ancestors, number)])
        for member in branch.members:
            rows[member] = path[: len(arrays[member])]
        stack.append((branch, (), number, True))
        deeper = at + len(branch.tokens)
        stack += [(child, (*ancestors, number), deeper, False) for child in branch.children[::-1]]
    return Trie(
        tokens=np.concatenate(parts) if parts else np.zeros(0, np.int64),
        positions=np.concatenate([node.depth + np.arange(node.end - node.start) for node in nodes])
        if nodes
        else np.zeros(0, np.int64),
        nodes=tuple(nodes),
        subtree_ends=tuple(ends),
        rows=tuple(rows),
    )
