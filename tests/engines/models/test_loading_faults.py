"""Whatever transformers, tokenizers or safetensors raise over a model's files is one error with a remedy that fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.training.conftest import build_folder

from prefboost.engines.models.loading_faults import explain_loading
from prefboost.engines.models.reward_model import load_reward_model
from prefboost.engines.models.weights import load_causal_lm
from prefboost.errors import ModelError, SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return build_folder(tmp_path / "model")


@given(share=st.floats(0, 0.999))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_weights_that_were_cut_anywhere_are_called_damaged(
    share: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = build_folder(tmp_path_factory.mktemp("cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged .*bytes(.|\n)*download the file again"):
        load_causal_lm(str(folder))
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        load_reward_model(str(folder), heads=["overall"])


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    with pytest.raises(ModelError, match="1 of its 2 weight files are missing"):
        load_causal_lm(str(folder))


@pytest.mark.parametrize(
    ("file", "text"),
    [("tokenizer.json", '{"a": 1'), ("tokenizer.json", '{"a": 1}'), ("config.json", "{"), ("config.json", "[]")],
)
def test_broken_files_are_one_error(file: str, text: str, folder: Path) -> None:
    (folder / file).write_text(text)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_causal_lm(str(folder))


def test_weights_of_another_size_than_the_configuration_are_said_to_be(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(ModelError, match=r"do not have the sizes that config\.json states"):
        load_causal_lm(str(folder))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("qwen2_vl", r"images or sounds besides text \(qwen2_vl\)(.|\n)*text model of the same family"),
        ("llava", "images or sounds besides text"),
        ("qwen2_audio", "images or sounds besides text"),
        ("t5", r"encoder-decoder \(t5\)(.|\n)*decoder-only"),
        ("vit", "cannot load vit as what is needed here"),
    ],
)
def test_checkpoints_of_another_kind_are_called_what_they_are(kind: str, said: str, folder: Path) -> None:
    from transformers import AutoConfig

    AutoConfig.for_model(kind).save_pretrained(folder)
    with pytest.raises(ModelError, match=said):
        load_causal_lm(str(folder))


def test_a_kind_that_this_transformers_does_not_know_is_named(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama_9000"}))
    with pytest.raises(ModelError, match=r"cannot load llama_9000(.|\n)*upgrade transformers"):
        load_causal_lm(str(folder))


@pytest.mark.parametrize("attention", ["flash", "flash_attention_2", "kernels-community/none"])
def test_an_attention_that_cannot_be_had_is_a_fault_of_the_setting(attention: str, folder: Path) -> None:
    with pytest.raises(SettingsError, match=f"attention '{attention}'(.|\n)*write sdpa or eager"):
        load_reward_model(str(folder), heads=["overall"], attn_implementation=attention)


def test_errors_of_ours_and_what_is_no_error_pass() -> None:
    with pytest.raises(SettingsError, match="mine"), explain_loading("any"):
        raise SettingsError("mine")
    with pytest.raises(KeyboardInterrupt), explain_loading("any"):
        raise KeyboardInterrupt


def test_memory_that_does_not_suffice_is_not_blamed_on_the_files() -> None:
    def load() -> Any:
        raise MemoryError("cannot allocate")

    with pytest.raises(ModelError, match=r"MemoryError cannot allocate(.|\n)*more memory"), explain_loading("any"):
        load()
