"""Embeddings are means over the texts' own tokens, whatever stands beside them in a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.training.conftest import build_folder

from prefboost.engines.embedding import embeddings
from prefboost.errors import ModelError

pytestmark = pytest.mark.torch


def test_a_text_has_one_vector_of_unit_length_in_any_company(tmp_path: Path) -> None:
    folder = str(build_folder(tmp_path))
    texts = ["abc", "a much longer text than that", "abc"]
    together = embeddings(folder, texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0)
    assert together[0] == pytest.approx(embeddings(folder, texts[:1])[0], abs=1e-5)
    assert together[0] == pytest.approx(together[2], abs=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_no_texts_have_no_vectors(tmp_path: Path) -> None:
    assert len(embeddings(str(build_folder(tmp_path)), [])) == 0


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        embeddings("./nowhere", ["a"])
