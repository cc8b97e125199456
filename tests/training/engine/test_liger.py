"""Fused kernels go where they are asked for and can run, else the setting is refused by name."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from prefboost.errors import SettingsError
from prefboost.training import Train
from prefboost.training.engine.liger import put_liger_kernels

ON = Train(model="m", liger_kernel=True)


def model_of(architecture: str) -> Any:
    return SimpleNamespace(config=SimpleNamespace(model_type=architecture))


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the library would have been told, in its place: it needs Triton and a GPU."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def patch(model: Any, **options: Any) -> None:
        calls.append((model.config.model_type, options))

    library = ModuleType("liger_kernel.transformers.monkey_patch")
    library.MODEL_TYPE_TO_APPLY_LIGER_FN = {"llama": None, "qwen3": None}  # type: ignore[attr-defined]
    library._apply_liger_kernel_to_instance = patch  # type: ignore[attr-defined]
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, library.__name__, library)
    return calls


def test_layers_are_exchanged_and_the_loss_is_not(patched: list[tuple[str, dict[str, Any]]]) -> None:
    put_liger_kernels(model_of("llama"), ON, "cuda")
    assert patched == [("llama", {"fused_linear_cross_entropy": False, "cross_entropy": False})]


def test_nothing_is_exchanged_unasked(patched: list[tuple[str, dict[str, Any]]]) -> None:
    put_liger_kernels(model_of("llama"), Train(model="m"), "cpu")
    assert patched == []


def test_an_architecture_without_kernels_is_named(patched: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(SettingsError, match="no kernels for gpt_neox; there are for llama, qwen3"):
        put_liger_kernels(model_of("gpt_neox"), ON, "cuda")
    assert patched == []


def test_without_a_gpu_it_is_refused() -> None:
    with pytest.raises(SettingsError, match="run on GPUs, and there is none here"):
        put_liger_kernels(model_of("llama"), ON, "cpu")


def test_training_needs_the_extra_that_brings_them() -> None:
    assert ON.extras == ("liger",)
    quantized = Train(model="m", lora={"quantize": "nf4", "merge": False}, engine="trl")
    assert quantized.extras == ("qlora", "trl")
