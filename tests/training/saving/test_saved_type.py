"""A model is saved in the number type that it had, unless another is asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.training.conftest import GOALS, build_model, build_tokenizer
from tests.training.policy.test_train import settings_of

from prefboost.training import Lora, train
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward
from prefboost.training.saving.saved_type import Rounding, base_type, round_weights

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def model_of(folder: Path, dtype: str, **changes: Any) -> Path:
    build_model(**changes).to(TYPES[dtype]).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def saved(folder: Path) -> tuple[set[torch.dtype], str]:
    """Types of the weights, and what the configuration says."""
    weights = load_file(folder / "model.safetensors")
    return {weight.dtype for weight in weights.values()}, json.loads((folder / "config.json").read_text())["dtype"]


@pytest.mark.parametrize(
    ("base", "precision", "asked", "expected"),
    [
        ("bfloat16", "fp32", "auto", "bfloat16"),
        ("float16", "fp32", "auto", "float16"),
        ("float32", "fp32", "auto", "float32"),
        ("float32", "pure_bf16", "auto", "bfloat16"),  # never wider than it was trained
        ("float16", "pure_bf16", "auto", "bfloat16"),
        ("bfloat16", "fp32", "float32", "float32"),
        ("float32", "fp32", "bfloat16", "bfloat16"),
    ],
)
def test_a_policy_is_saved_in_the_type_of_its_base_unless_asked(
    base: str, precision: str, asked: str, expected: str, pairs: pa.Table, tmp_path: Path
) -> None:
    folder = model_of(tmp_path / "model", base)
    settings = settings_of(folder, max_steps=1, precision=precision, save_type=asked)
    report = train(pairs, settings, tmp_path / "run", goals=GOALS)
    assert saved(Path(report.model)) == ({TYPES[expected]}, expected)
    rounded = [line for line in report.messages if line.startswith(f"saved as {expected}")]
    assert len(rounded) == (asked == "auto" and precision == "fp32" and base != "float32")


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
def test_so_is_a_reward_model_with_or_without_adapters(lora: Lora | None, pairs: pa.Table, tmp_path: Path) -> None:
    folder = model_of(tmp_path / "model", "bfloat16")
    settings = TrainReward(model=str(folder), precision="fp32", max_steps=1, lora=lora)
    report = train_reward(pairs, settings, tmp_path / "run")
    assert saved(Path(report.model)) == ({torch.bfloat16}, "bfloat16")
    assert report.messages[-1].startswith("saved as bfloat16")


def test_weights_are_rounded_once_and_those_in_memory_stay() -> None:
    model = build_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    rounded = round_weights(model, None, torch.bfloat16)
    assert rounded is not None and round_weights(model, None, torch.float32) is None
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) and torch.equal(rounded[name], before[name].bfloat16())


def test_tied_weights_are_written_once_and_loaded_tied(pairs: pa.Table, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder = model_of(tmp_path / "model", "bfloat16", tie_word_embeddings=True)
    report = train(pairs, settings_of(folder, max_steps=1), tmp_path / "run", goals=GOALS)
    assert load_file(Path(report.model) / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()
    loaded = AutoModelForCausalLM.from_pretrained(report.model)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_layers_that_must_stay_in_float32_do() -> None:
    model = build_model()
    model._keep_in_fp32_modules_strict = {"input_layernorm"}
    model._keep_in_fp32_modules = {"o_proj"}
    for dtype in (torch.bfloat16, torch.float16):
        rounded = round_weights(model, None, dtype)
        assert rounded is not None
        stay = {name for name, weight in rounded.items() if weight.dtype == torch.float32}
        wanted = {"input_layernorm"} | ({"o_proj"} if dtype == torch.float16 else set())
        assert {name.split(".")[-2] for name in stay} == wanted


def test_the_type_is_read_from_the_weights_where_the_configuration_says_none(tmp_path: Path) -> None:
    folder = model_of(tmp_path / "model", "float16")
    config = json.loads((folder / "config.json").read_text())
    del config["dtype"]
    (folder / "config.json").write_text(json.dumps(config))
    assert base_type(str(folder)) == torch.float16


@pytest.mark.parametrize(("learning_rate", "lost"), [(1e-8, "100%"), (1e-1, "[0-9]%")])
def test_updates_that_the_saved_type_cannot_hold_are_counted(
    learning_rate: float, lost: str, pairs: pa.Table, tmp_path: Path
) -> None:
    folder = model_of(tmp_path / "model", "bfloat16")
    report = train(pairs, settings_of(folder, max_steps=2, learning_rate=learning_rate), tmp_path / "run", goals=GOALS)
    assert re.search(rf"{lost} of the weights that training changed are rounded back", report.messages[-1])


@given(moved=st.lists(st.sampled_from([0.0, 1e-6, 0.5]), min_size=4, max_size=4))
def test_the_share_is_that_of_the_changed_weights(moved: list[float]) -> None:
    before = torch.tensor([1.0, 2.0, -1.0, 0.25])
    rounding = Rounding(torch.bfloat16, torch.float32, {"weight": before})
    changed = [move for move in moved if move]
    found = rounding.share_lost({"weight": before + torch.tensor(moved), "other": before})
    assert found == (None if not changed else pytest.approx(sum(move < 0.1 for move in changed) / len(changed)))


@pytest.mark.parametrize(("asked", "expected"), [("auto", torch.float32), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("kind", ["policy", "reward"])
def test_adapters_saved_alone_keep_the_type_of_their_training_unless_asked(
    kind: str, asked: str, expected: torch.dtype, pairs: pa.Table, tmp_path: Path
) -> None:
    folder = model_of(tmp_path / "model", "bfloat16")
    shared: dict[str, Any] = {
        "max_steps": 1,
        "precision": "fp32",
        "save_type": asked,
        "lora": Lora(rank=2, merge=False),
    }
    if kind == "policy":
        report = train(pairs, settings_of(folder, **shared), tmp_path / "run", goals=GOALS)
    else:
        report = train_reward(pairs, TrainReward(model=str(folder), **shared), tmp_path / "run")
    weights = load_file(Path(report.model) / "adapter_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {expected}
    assert not any(line.startswith("saved as") for line in report.messages)
