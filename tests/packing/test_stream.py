"""A stream scores exactly the tokens of the completions, each from the row before it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.packing import measure_stream, pack

tokens = st.integers(0, 3)
pairs = st.lists(
    st.tuples(st.lists(tokens, min_size=1, max_size=8), st.lists(tokens, max_size=8)), min_size=1, max_size=6
)


@given(pairs, st.integers(1, 4), st.booleans())
def test_every_completion_token_is_predicted_once_from_the_row_before_it(
    given_: list[tuple[list[int], list[int]]], min_shared: int, share: bool
) -> None:
    prompts, completions = zip(*given_, strict=True)
    packed = pack(prompts, completions, min_shared=min_shared, share=share)
    owned = list(zip(packed.owner.tolist(), packed.targets[packed.item].tolist(), strict=True))
    assert Counter(owned) == Counter((n, token) for n, completion in enumerate(completions) for token in completion)
    for item, owner in zip(packed.item.tolist(), packed.owner.tolist(), strict=True):
        row = int(packed.source[item])
        position = int(packed.position_ids[row])
        whole = [*prompts[owner], *completions[owner]]
        assert int(packed.input_ids[row]) == whole[position]
        assert int(packed.targets[item]) == whole[position + 1]


@given(pairs)
def test_the_last_token_of_a_completion_is_not_fed(given_: list[tuple[list[int], list[int]]]) -> None:
    prompts, completions = zip(*given_, strict=True)
    packed = pack(prompts, completions, share=False)
    expected = sum(len(p) + max(0, len(c) - 1) for p, c in given_)
    assert packed.tokens == packed.unshared_tokens == expected
    ends = [int(packed.position_ids[row]) for row in packed.ends]
    assert ends == [len(p) + max(0, len(c) - 1) - 1 for p, c in given_]


@given(pairs, st.integers(1, 4))
def test_the_length_is_known_without_packing(given_: list[tuple[list[int], list[int]]], min_shared: int) -> None:
    prompts, completions = zip(*given_, strict=True)
    packed = pack(prompts, completions, min_shared=min_shared)
    assert measure_stream(prompts, completions, min_shared=min_shared) == packed.tokens


def test_equal_sequences_are_computed_and_scored_once() -> None:
    packed = pack([[1, 2, 3]] * 2, [[4, 5, 6]] * 2)
    assert packed.tokens == 5
    assert len(packed.source) == 3
    assert packed.owner.tolist() == [0, 0, 0, 1, 1, 1]


def test_padding_counts_whole_sequences() -> None:
    assert pack([[1, 2], [1, 2, 3]], [[4], [5, 6]]).padded_tokens == 10


def test_an_empty_prompt_is_refused_by_number() -> None:
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        pack([[1], []], [[2], [3, 4]])
