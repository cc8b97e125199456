"""A reward model's training begins with a model that can be trained, and knows that it can be saved."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch
from datasets import Dataset
from tests.training.conftest import build_model, build_tokenizer

from prefboost.errors import DataError, ModelError
from prefboost.training.data.units import Data
from prefboost.training.optimisation import Lora
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.start import RewardModelSaver, check_start, load_start
from prefboost.training.saving.checkpoint import Saving

END = RewardModelSaver(
    Saving(saved_type=torch.float32),
    {"train_reward": {"model": "base", "loss": {"kind": "bradley_terry"}}, "heads": ["overall"],
     "data": {"fingerprint": "f", "pairs": 1, "dropped": {}}, "metrics": {}},
    steps=1,
)  # fmt: skip


def units(*lengths: int) -> Dataset:
    return Dataset(pa.table({"texts": [[[5] * length for length in lengths]]}))


def test_the_head_is_drawn_by_the_seed_and_the_body_is_the_models(tiny: Path) -> None:
    one, same, other = (load_start(TrainReward(model=str(tiny), precision="fp32", seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.model.score.weight, same.model.score.weight)
    assert not torch.equal(one.model.score.weight, other.model.score.weight)
    assert torch.equal(one.model.model.norm.weight, build_model().model.norm.weight)
    assert one.packs


def test_a_body_with_missing_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build_model().save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 1 weights of LlamaForSequenceClassification, e\.g\. model\.norm"):
        load_start(TrainReward(model=str(tmp_path), precision="fp32"))


def test_the_end_is_rehearsed_and_removed(tiny: Path, tmp_path: Path) -> None:
    settings = TrainReward(model=str(tiny), precision="fp32")
    check_start(load_start(settings), Data(units(3, 9)), settings, END, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_evaluation_rows_have_to_fit_too(tmp_path: Path) -> None:
    from tests.made.tiny_models import tiny_model

    sizes = {"vocab_size": 259, "n_positions": 32, "max_position_embeddings": None, "pad_token_id": 258}
    tiny_model("gpt2", **sizes).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    settings = TrainReward(model=str(tmp_path / "model"), precision="fp32", lora=Lora())
    with pytest.raises(DataError, match="1 of 2 sequences are longer than the 32 positions"):
        check_start(load_start(settings), Data(units(3, 9), units(3, 33)), settings, END, tmp_path)
