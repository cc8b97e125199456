"""Samples are put together by their prompt, in order, none lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Request
from prefboost.engines.openai.samples import group_samples


@given(st.lists(st.sampled_from("ab"), max_size=12), st.integers(1, 4))
def test_groups_are_of_one_prompt_and_no_larger_than_allowed(texts: list[str], most: int) -> None:
    requests = [Request([{"role": "user", "content": text}], at) for at, text in enumerate(texts)]
    groups = list(group_samples(enumerate(requests), most))
    assert [index for group in groups for index, _ in group] == list(range(len(texts)))
    for group in groups:
        assert len(group) <= most
        assert len({str(request.prompt) for _, request in group}) == 1


def test_no_request_is_taken_before_it_is_needed() -> None:
    taken = []

    def requests() -> object:
        for at in range(4):
            taken.append(at)
            yield at, Request([{"role": "user", "content": "a"}], at)

    next(group_samples(requests(), 2))  # type: ignore[arg-type]
    assert taken == [0, 1]
