"""Settings of `select` are closed, and a strategy may be named alone."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from prefboost.preferences.score_selection import BestOfN
from prefboost.runs.select.settings import SelectCompletions


def test_a_strategy_is_named_by_its_kind_and_a_file_holds_a_record_at_least() -> None:
    how = SelectCompletions.model_validate({"strategy": {"kind": "best_of_n"}})
    assert how.strategy == BestOfN() and how.file_type is None
    with pytest.raises(ValidationError):
        SelectCompletions(strategy=BestOfN(), file_records=0)
