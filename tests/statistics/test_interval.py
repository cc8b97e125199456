from __future__ import annotations

from prefboost.statistics import Interval

NAN = float("nan")


def test_an_interval_excludes_what_lies_outside_its_ends():
    found = Interval(1.0, 0.5, 1.5, 0.95, rows=10, clusters=5)
    assert found.excludes(0.0) and found.excludes(1.6)
    assert not found.excludes(0.5) and not found.excludes(1.0)


def test_an_interval_with_unknown_ends_excludes_nothing_and_says_so():
    found = Interval(1.0, NAN, NAN, 0.95, rows=3, clusters=1)
    assert not found.excludes(0.0)
    assert str(found) == "1.00 [unknown] (n=3, 1 clusters)"
