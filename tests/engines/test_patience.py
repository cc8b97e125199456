"""How few answers are too few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.patience import Patience, check_answered
from prefboost.errors import RunError


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1))
def test_a_run_is_done_where_something_and_enough_was_answered(answered: int, missing: int, least: float) -> None:
    asked, patience = answered + missing, Patience(least_answered=least)
    enough = asked == 0 or (answered > 0 and answered >= least * asked)
    try:
        check_answered(answered, asked, patience, ["why"] * missing)
    except RunError:
        assert not enough
    else:
        assert enough


def test_the_commonest_reason_is_named() -> None:
    with pytest.raises(RunError, match=r"1 of 6 rows were answered, less than least_answered \(0.5\); 3 times: b"):
        check_answered(1, 6, Patience(), ["a", "b", "b", "c", "b"])
    with pytest.raises(RunError, match="0 of 2 rows were answered; 2 times: a"):
        check_answered(0, 2, Patience(least_answered=0), ["a", "a"])
