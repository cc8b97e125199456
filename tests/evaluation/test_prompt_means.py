from hypothesis import given
from hypothesis import strategies as st

from prefboost.evaluation.benchmark import JudgeVerdict
from prefboost.evaluation.prompt_means import average_by_prompt


def verdict(uid: str, part: str, value: float | None, model: str = "m") -> JudgeVerdict:
    return JudgeVerdict(uid, model, part, value)


def test_both_orders_are_one_number_and_a_prompt_with_a_missing_one_is_left_out():
    rows = [verdict("a", "1", 0.2), verdict("b", "1", 1.0), verdict("a", "2", 0.6), verdict("b", "2", None)]
    assert average_by_prompt(rows) == {"m": {"a": 0.4}}


@given(st.permutations([verdict(uid, part, value) for uid, value in (("a", 0.1), ("b", 0.7)) for part in "12"]))
def test_the_order_of_rows_does_not_matter(rows):
    assert average_by_prompt(rows) == {"m": {"a": 0.1, "b": 0.7}}
