"""Fixtures of tests of evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stand_in_harness


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """See `stand_in_harness.install`."""
    return stand_in_harness.install(monkeypatch, tmp_path)
