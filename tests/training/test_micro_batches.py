"""Every view is computed once, views of a unit together, within the budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from prefboost.packing import stream_length
from prefboost.training.batches import Views
from prefboost.training.micro_batches import default_budget, split_by_budget, split_by_prompt_order

TOKENS = st.lists(st.integers(1, 3), min_size=1, max_size=40)


@st.composite
def views(draw: st.DrawFn) -> Views:
    common = list(range(20))
    rows = draw(st.lists(st.tuples(st.booleans(), TOKENS, TOKENS, TOKENS), min_size=1, max_size=8))
    prompts = tuple(common + prompt if shares else prompt for shares, prompt, _, _ in rows)
    units = tuple(number // 2 for number in range(len(rows)))
    return Views(prompts, tuple(row[2] for row in rows), tuple(row[3] for row in rows), units)


@given(views(), st.integers(1, 400))
def test_parts_hold_whole_units_within_the_budget(whole: Views, budget: int) -> None:
    parts = split_by_budget(whole, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(whole.units)))
    units = [{whole.units[row] for row in part} for part in parts]
    assert sum(map(len, units)) == len(set(whole.units))
    for part, found in zip(parts, units, strict=True):
        assert whole.take(part).packed().tokens <= budget or len(found) == 1


@given(views(), st.integers(1, 400))
def test_sequences_of_the_reference_pass_are_split_within_the_budget_too(whole: Views, budget: int) -> None:
    parts = split_by_prompt_order(whole.prompts, whole.chosen, budget)
    assert sorted(row for part in parts for row in part) == list(range(len(whole.units)))
    for part in parts:
        one = ([whole.prompts[i] for i in part], [whole.chosen[i] for i in part])
        assert stream_length(*one) <= budget or len(part) == 1


def test_units_with_a_common_beginning_meet() -> None:
    one, other = list(range(30)), list(range(50, 80))
    whole = Views((one, other, one, other), ([1],) * 4, ([2],) * 4, (0, 1, 2, 3))
    assert split_by_budget(whole, 40) == [[0, 2], [1, 3]]
    assert split_by_budget(whole, 10) == [[0], [2], [1], [3]]


def test_other_devices_than_cuda_have_the_budget_of_a_cpu() -> None:
    assert default_budget("mps") == default_budget("cpu") < default_budget("cuda")
