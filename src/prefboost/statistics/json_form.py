"""Figures as JSON has them, which knows neither NaN nor infinity, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefboost.statistics.interval import Interval

__all__ = ["read_interval", "replace_nan"]


def replace_nan(value: Any) -> Any:
    """Return a value with None in the place of every NaN and infinity in it, however deep.

    >>> replace_nan({"mean": float("nan"), "ends": (0.5, float("inf"))})
    {'mean': None, 'ends': [0.5, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): replace_nan(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [replace_nan(part) for part in value]
    return value


def read_interval(record: Any) -> Interval | None:
    """Read an interval; None where there is none. Unknown ends are null in JSON, and NaN here.

    >>> read_interval({"estimate": 1.0, "low": None, "high": None, "level": 0.95, "rows": 1, "clusters": 1}).format()
    '1.00'
    """
    if not isinstance(record, Mapping) or record.get("estimate") is None:
        return None
    missing = {name: float("nan") for name, value in record.items() if value is None}
    return Interval(**{**record, **missing})
