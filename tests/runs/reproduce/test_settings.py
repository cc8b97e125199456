"""Settings of a reproduction are refused where they cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefboost.errors import SettingsError

from .conftest import build_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": ["ra", "dop"]}, "arms are some of"),
        ({"arms": ["ra", "ra"]}, "each once"),
        ({"validation": 0.5, "test": 0.5}, "no prompts to train on"),
        ({"seeds": [1, 1]}, "stands twice in seeds"),
    ],
)
def test_what_cannot_be_meant_is_refused(scored: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build_settings(Path("m"), scored, **changes)
