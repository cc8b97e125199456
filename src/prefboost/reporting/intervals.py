"""Intervals read back from the JSON of manifests and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefboost.statistics import Interval

__all__ = ["read_interval"]


def read_interval(record: Any) -> Interval | None:
    """Read an interval; None where there is none. Unknown ends are null in JSON, and NaN here.

    >>> read_interval({"estimate": 1.0, "low": None, "high": None, "level": 0.95, "rows": 1, "clusters": 1}).format()
    '1.00'
    """
    if not isinstance(record, Mapping) or record.get("estimate") is None:
        return None
    missing = {name: float("nan") for name, value in record.items() if value is None}
    return Interval(**{**record, **missing})
