from __future__ import annotations

import pytest
from published_figures.mt_bench import MT_ORACLES, find_category, read_grades

from prefboost.errors import DataError


def test_every_stored_score_is_read_and_every_models_mean_comes_out(oracles_dir):
    official, robust, means = [check for oracle in MT_ORACLES for check in oracle.checks(oracles_dir)]
    for check in (official, robust, means):
        assert check.is_ok, (check.what, check.worst, check.deviation)
    assert len(official.published) == len(robust.published) == 1119
    assert means.computed["mistral-orpo-capybara"] == 6.81875  # published as 6.8188


def test_published_questions_have_their_category_by_number():
    assert [find_category(str(at)) for at in (81, 90, 101, 160)] == ["writing", "writing", "reasoning", "humanities"]
    assert [find_category(name) for name in ("80", "161", "mine")] == ["other"] * 3


def test_a_record_that_is_no_grade_is_named():
    with pytest.raises(DataError, match="record 0 is no grade of MT-Bench: it has no judgment"):
        list(read_grades([{"question_id": 81, "model": "m", "turn": 1, "g1_judgment": "x"}], "robust"))
    with pytest.raises(DataError, match="no turn 1 or 2"):
        list(read_grades([{"question_id": 81, "model": "m", "turn": 3, "judgment": "x"}], "robust"))
