"""A tiny random model on disk, opened by the local engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.engines.engine import Request, Sampling
from prefboost.engines.local.engine import Local, LocalEngine

SAMPLING = Sampling(max_tokens=12, temperature=1.0, top_p=0.9, seed=3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    return build_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def engine(folder: Path) -> LocalEngine:
    return Local(model=str(folder), dtype="float32", device="cpu", batch_rows=4).open()


@pytest.fixture
def requests() -> list[Request]:
    """Prompts of several lengths, three completions each."""
    return [
        Request([{"role": "user", "content": "hello " * words, "extra": None}], sample)
        for words in (7, 1, 3, 2, 5)
        for sample in range(3)
    ]
