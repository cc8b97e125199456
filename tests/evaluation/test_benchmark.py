import json

import pytest

from prefboost.errors import DataError
from prefboost.evaluation.benchmark import JudgeRequest, JudgeVerdict, Withholding


def test_a_verdict_comes_back_from_its_line_as_it_was():
    verdict = JudgeVerdict("7", "mine", "first", 0.25, {"len_1": 10, "switched": True}, "a judge")
    assert JudgeVerdict.of(json.loads(json.dumps(verdict.record))) == verdict


def test_a_verdict_without_value_keeps_its_reason():
    verdict = JudgeVerdict("7", "mine", "first", None, fault="no label")
    assert JudgeVerdict.of(verdict.record) == verdict


@pytest.mark.parametrize("record", [{"model": "m", "value": 1}, {"uid": "1", "model": "m", "value": float("nan")}])
def test_a_line_that_is_no_verdict_is_refused(record):
    with pytest.raises(DataError, match="is no verdict"):
        JudgeVerdict.of(record)


@pytest.mark.parametrize(
    ("missing", "allowed", "withheld"), [(0, False, False), (1, False, False), (2, False, True), (2, True, False)]
)
def test_more_than_one_percent_missing_withholds_the_figure_unless_allowed(missing, allowed, withheld):
    assert Withholding(missing, 100, allowed).withheld is withheld


def test_nothing_left_withholds_the_figure_even_if_allowed():
    assert Withholding(5, 5, allowed=True).withheld
    assert Withholding(0, 0, allowed=True).withheld


def test_a_request_with_a_known_value_or_a_fault_needs_no_call():
    assert JudgeRequest("1", "m", "a").is_asked
    assert not JudgeRequest("1", "m", "a", known=0.5).is_asked
    assert not JudgeRequest("1", "m", "a", fault="no completion").is_asked
