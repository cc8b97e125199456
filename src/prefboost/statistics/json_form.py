"""Figures as JSON has them, which knows neither NaN nor infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["replace_nan"]


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
