from dataclasses import replace

import pytest
from made_verdicts import made

from prefboost.errors import DataError
from prefboost.evaluation.drift import compare_rejudged


def test_the_same_verdicts_have_not_moved():
    found = compare_rejudged(made("m", 0.6), made("m", 0.6))
    assert (found.change.estimate, found.same.estimate, found.largest, found.moved) == (0, 1, 0, False)
    assert found.verdicts == 60


def test_a_judge_that_has_become_kinder_is_seen_on_a_part_of_the_prompts():
    later = [replace(one, value=min(1.0, one.value + 0.2)) for one in made("m", 0.5)[:40]]
    found = compare_rejudged(made("m", 0.5), later)
    assert found.change.estimate == pytest.approx(0.2) and found.moved
    assert found.verdicts == 40 and found.same.estimate < 0.9


def test_other_completions_and_missing_values_are_counted_and_left_out():
    later = made("m", 0.6)
    later[0] = replace(later[0], facts={**later[0].facts, "completion": "another"})
    later[1] = replace(later[1], value=None)
    found = compare_rejudged(made("m", 0.6), later)
    assert (found.verdicts, found.other, found.missing) == (58, 1, 1)


def test_nothing_in_both_is_refused():
    with pytest.raises(DataError, match="of 0 verdicts on both sides"):
        compare_rejudged(made("m", 0.6), made("other", 0.6))
