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
        start: its first row of the stream.
        end: one after its last row.
        depth: position of its first token in the sequences through it.
        ancestors: nodes on the way from the root to it, the root first.
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
        rows: per sequence, the rows [its length] of the stream that hold it.
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
    groups: Sequence[int] | None = None,
) -> Trie:
    """Put sequences into one stream.

    Args:
        sequences: S sequences of token ids, none of them empty.
        min_shared: a beginning shared by two sequences is stored once if it has at least so many tokens (>= 1), or if
            it is all that is left of one of them.
        share: False gives every sequence a separate run.
        groups: [S], one number per sequence; sequences of different numbers share nothing.

    Raises:
        ValueError: a sequence is empty.
    """
    # One root per group, so that sequences of different groups never meet; the roots are joined at the end.
    roots: dict[int, _Branch] = {}
    arrays = [np.ascontiguousarray(sequence, dtype=np.int64) for sequence in sequences]
    for member, tokens in enumerate(arrays):
        if not len(tokens):
            raise ValueError(f"sequence {member} is empty; each needs at least one token")
        root = roots.setdefault(groups[member] if groups is not None else 0, _Branch(np.zeros(0, np.int64)))
        if share:
            _insert(root, tokens, member, min_shared)
        else:
            root.children.append(_Branch(tokens, members=[member]))
    children = [child for root in roots.values() for child in root.children]
    return _flatten(_Branch(np.zeros(0, np.int64), children), arrays)


def _insert(root: _Branch, tokens: TokenIds, member: int, min_shared: int) -> None:
    """Add a sequence below the root: follow the children that begin like it, and branch off where none does."""
    branch, rest = root, tokens
    while True:
        starts = [(_count_shared(child.tokens, rest), child) for child in branch.children if child.tokens[0] == rest[0]]
        common, child = max(starts, key=lambda start: start[0], default=(0, root))
        # A short beginning is shared all the same where it is all of one of them: then no node is added.
        if not starts or common < min(min_shared, len(rest), len(child.tokens)):
            branch.children.append(_Branch(rest, members=[member]))
            return
        if common == len(rest):
            child.members.append(member)
            return
        if common < len(child.tokens):
            _split(child, common)
        branch, rest = child, rest[common:]


def _count_shared(first: TokenIds, second: TokenIds) -> int:
    length = min(len(first), len(second))
    differs = first[:length] != second[:length]
    at = int(differs.argmax())  # 0 where nothing differs, hence the second look
    return at if differs[at] else length


def _split(branch: _Branch, at: int) -> None:
    """Cut a branch in two: its tokens from ``at`` on become its only child, which takes its members along."""
    # Members may end in the middle of the child. `_flatten` cuts a member's rows by its length, so this does no harm.
    tail = _Branch(branch.tokens[at:], branch.children, branch.members)
    branch.tokens, branch.children, branch.members = branch.tokens[:at], [tail], []


def _flatten(root: _Branch, arrays: Sequence[TokenIds]) -> Trie:
    """Write the trie out in depth-first order, with a stack: a path may be deeper than Python's recursion."""
    nodes: list[Node] = []
    parts: list[TokenIds] = []
    ends: list[int] = []
    rows: list[TokenIds] = [np.zeros(0, np.int64)] * len(arrays)
    length = 0
    # Entries: branch, numbers of its ancestors, position of its first token, and whether this is the second visit,
    # after all descendants; on that one the third field is the number of the branch's node.
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
        # Sequences that end in this node, or at its end, stand on its path; a prefix of it is enough for the former.
        path = np.concatenate([np.arange(nodes[i].start, nodes[i].end) for i in (*ancestors, number)])
        for member in branch.members:
            rows[member] = path[: len(arrays[member])]
        stack.append((branch, (), number, True))
        # Children are pushed in reverse, so that they are written in order of arrival.
        depth = at + len(branch.tokens)
        stack += [(child, (*ancestors, number), depth, False) for child in branch.children[::-1]]
    return Trie(
        tokens=np.concatenate(parts) if parts else np.zeros(0, np.int64),
        positions=np.concatenate([node.depth + np.arange(node.end - node.start) for node in nodes])
        if nodes
        else np.zeros(0, np.int64),
        nodes=tuple(nodes),
        subtree_ends=tuple(ends),
        rows=tuple(rows),
    )
