"""The trie holds every sequence, stores shared beginnings once, and stands in depth-first order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.packing.trie import build_trie

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=12), min_size=1, max_size=8)


@given(sequences, st.integers(1, 6), st.booleans())
def test_each_sequence_is_read_back_from_its_rows(given_: list[list[int]], min_shared: int, share: bool) -> None:
    trie = build_trie(given_, min_shared=min_shared, share=share)
    for tokens, rows in zip(given_, trie.rows, strict=True):
        assert trie.tokens[rows].tolist() == tokens
        assert trie.positions[rows].tolist() == list(range(len(tokens)))


@given(sequences, st.integers(1, 6))
def test_the_rows_of_a_sequence_are_its_nodes_in_order(given_: list[list[int]], min_shared: int) -> None:
    trie = build_trie(given_, min_shared=min_shared)
    for rows in trie.rows:
        last = next(n for n, node in enumerate(trie.nodes) if node.start <= rows[-1] < node.end)
        path = (*trie.nodes[last].ancestors, last)
        whole = np.concatenate([np.arange(trie.nodes[n].start, trie.nodes[n].end) for n in path])
        assert rows.tolist() == whole[: len(rows)].tolist()


@given(sequences, st.integers(1, 6))
def test_a_key_is_an_ancestor_exactly_if_its_subtree_holds_the_query(given_: list[list[int]], min_shared: int) -> None:
    trie = build_trie(given_, min_shared=min_shared)
    for number, node in enumerate(trie.nodes):
        above = {n for n, end in enumerate(trie.subtree_ends) if trie.nodes[n].start <= node.start < end}
        assert above == {*node.ancestors, number}
        assert node.depth == sum(trie.nodes[n].end - trie.nodes[n].start for n in node.ancestors)


@given(sequences)
def test_with_single_tokens_shared_no_two_children_begin_alike(given_: list[list[int]]) -> None:
    trie = build_trie(given_, min_shared=1)
    begins = [(node.ancestors, int(trie.tokens[node.start])) for node in trie.nodes]
    assert len(set(begins)) == len(begins)
    prefixes = {tuple(tokens[:end]) for tokens in given_ for end in range(1, len(tokens) + 1)}
    assert len(trie.tokens) == len(prefixes)


@given(sequences, st.integers(1, 6))
def test_sharing_never_adds_tokens(given_: list[list[int]], min_shared: int) -> None:
    assert len(build_trie(given_, min_shared=min_shared).tokens) <= sum(map(len, given_))


def test_a_short_common_beginning_is_not_shared_unless_nothing_else_is_left() -> None:
    assert len(build_trie([[1, 2, 3, 4], [1, 2, 5, 6]], min_shared=3).tokens) == 8
    assert len(build_trie([[1, 2, 3, 4], [1, 2, 5, 6]], min_shared=2).tokens) == 6
    assert len(build_trie([[1, 2, 3, 4], [1, 2]], min_shared=3).tokens) == 4


def test_an_empty_sequence_is_refused_by_number() -> None:
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        build_trie([[1], []])
