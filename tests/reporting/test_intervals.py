"""Intervals come back from JSON as they were written."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

from prefboost.reporting.intervals import read_interval
from prefboost.statistics import Interval


def test_an_interval_comes_back_from_json() -> None:
    value = Interval(1.5, 1.0, 2.0, 0.95, 8, 4)
    assert read_interval(json.loads(json.dumps(asdict(value)))) == value


def test_unknown_ends_are_nan_and_anything_else_is_no_interval() -> None:
    value = read_interval({**asdict(Interval(1.5, 1.0, 2.0, 0.95, 8, 4)), "low": None, "high": None})
    assert value is not None and math.isnan(value.low) and value.estimate == 1.5
    assert read_interval(None) is None and read_interval(3.0) is None and read_interval({"mean": 1}) is None
