from __future__ import annotations

import numpy as np
import pytest

from prefboost.errors import DataError
from prefboost.statistics.columns import check_columns, check_range, number_labels


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_missing_number_is_refused_with_its_row_and_column(bad):
    with pytest.raises(DataError, match=r"row 2, column 'score': -?(nan|inf) .*1 of 3 rows"):
        check_columns(goal=[1, 2, 3], score=[1, 2, bad])


@pytest.mark.parametrize("columns", [{"a": []}, {"a": [[1.0]]}, {"a": [1, 2], "b": [1]}, {"a": 3.0}])
def test_columns_that_do_not_fit_are_refused(columns):
    with pytest.raises(DataError, match="has shape"):
        check_columns(**columns)


def test_labels_are_numbered_in_order_of_the_labels_whatever_their_type():
    for labels in (["b", "a", "b"], [7, 3, 7], np.array([True, False, True])):
        numbers, count = number_labels(labels, 3)
        assert numbers.tolist() == [1, 0, 1] and count == 2


def test_without_labels_every_row_is_its_own():
    numbers, count = number_labels(None, 4)
    assert numbers.tolist() == [0, 1, 2, 3] and count == 4


def test_a_label_too_many_is_refused():
    with pytest.raises(DataError, match=r"labels have shape \(3,\) for 2 rows"):
        number_labels(["a", "b", "c"], 2)


def test_a_range_includes_its_ends_and_names_what_is_beyond():
    check_range(np.array([-1.0, 1.0]), -1, 1, noun="verdicts", remedy="")
    with pytest.raises(DataError, match=r"verdicts must be in -1\.\.1, found -1 to 2\n  -> mend it"):
        check_range(np.array([-1.0, 2.0]), -1, 1, noun="verdicts", remedy="mend it")
