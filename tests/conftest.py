"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Set before any test imports torch or a hub client: one thread a process, nothing from the network.
for name, value in {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}.items():
    os.environ.setdefault(name, value)

# A busy machine must not fail a test for being slow.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Larger data beside the checkout, where a machine has them; tests that want them are skipped elsewhere."""
    folder = Path(__file__).parents[1].parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("the larger data sets are not on this machine (no ../shared/data)")
    return folder
