"""Models that come as a GGUF file inside a package."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prefboost.engines.models.packaged import cache_folder, model_folder
from prefboost.errors import ModelError


def test_folders_and_hub_ids_pass_through() -> None:
    assert model_folder("some/folder") == "some/folder"


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(ModelError, match="no_such_package") as error:
        model_folder("package:no_such_package")
    assert "pip install" in str(error.value)


def test_a_package_without_one_gguf_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty_model").mkdir()
    (tmp_path / "empty_model" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ModelError, match="0 GGUF files"):
        model_folder("package:empty_model")


def test_a_package_is_converted_once_and_then_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "one_model"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "weights.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PREFBOOST_CACHE", str(tmp_path / "cache"))
    converted: list[Path] = []

    def convert(weights: Path, folder: Path) -> None:
        converted.append(weights)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr("prefboost.engines.models.packaged._convert", convert)
    first, second = model_folder("package:one_model"), model_folder("package:one_model")
    assert first == second and converted == [package / "weights.gguf"]
    assert Path(first).is_relative_to(cache_folder())


def test_dequantised_weights_can_be_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("gguf")
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from transformers.utils.quantization_config import GgufConfig  # type: ignore[import-not-found,unused-ignore]

    package = tmp_path / "gguf_model"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "weights.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PREFBOOST_CACHE", str(tmp_path / "cache"))
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    loaded = LlamaForCausalLM(LlamaConfig(vocab_size=32, num_attention_heads=2, num_key_value_heads=2, **sizes))
    loaded.config.quantization_config = GgufConfig()
    tokenizer = SimpleNamespace(save_pretrained=lambda folder: (folder / "tokenizer.json").touch())
    with monkeypatch.context() as reading:
        reading.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: loaded)
        reading.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
        folder = Path(model_folder("package:gguf_model"))
    assert (folder / "tokenizer.json").exists()
    again = AutoModelForCausalLM.from_pretrained(folder)
    assert not hasattr(again.config, "quantization_config")
    assert all((a == b).all() for a, b in zip(again.state_dict().values(), loaded.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["runs/mine/model", "./model", "/nowhere/model", "~/model"])
def test_a_folder_that_is_not_there_is_no_hub_id(name: str) -> None:
    with pytest.raises(ModelError, match="there is no folder"):
        model_folder(name)
