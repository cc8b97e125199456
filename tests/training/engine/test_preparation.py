"""A model is prepared for training as its settings say, and what would train wrongly is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from tests.training.conftest import build_model

from prefboost.errors import RunError, SettingsError
from prefboost.training import Lora, Train
from prefboost.training.engine.preparation import prepare_model, refuse_unsupported


def config_of(zero_stage: int | None = None) -> Any:
    plugin = None if zero_stage is None else SimpleNamespace(zero_stage=zero_stage)
    return SimpleNamespace(deepspeed_plugin=plugin, n_gpu=1)


def settings_of(**changes: Any) -> Train:
    return Train(model="m", precision="fp32", **changes)


def test_dropout_is_off_but_for_that_of_adapters() -> None:
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=32, resid_pdrop=0.3)
    )
    lora = Lora(rank=2, dropout=0.25, targets=("c_attn",))
    prepared = prepare_model(model, settings_of(lora=lora), config_of(), task="CAUSAL_LM")
    rates = {name: module.p for name, module in prepared.named_modules() if isinstance(module, torch.nn.Dropout)}
    assert {rate for name, rate in rates.items() if "lora_dropout" in name} == {0.25}
    assert {rate for name, rate in rates.items() if "lora_dropout" not in name} == {0.0}


@pytest.mark.parametrize(("stage", "dtype"), [(None, torch.float32), (2, torch.float32), (3, torch.bfloat16)])
def test_adapters_have_the_type_of_their_base_where_zero_3_gathers_both(stage: int | None, dtype: torch.dtype) -> None:
    config = config_of(stage)
    settings = settings_of(lora=Lora(rank=2), gradient_checkpointing=True)
    prepared = prepare_model(build_model().bfloat16(), settings, config, task="CAUSAL_LM")
    assert {weight.dtype for name, weight in prepared.named_parameters() if "lora_" in name} == {dtype}
    reentrant = getattr(config, "activation_checkpointing_kwargs", {}).get("use_reentrant", False)
    assert reentrant == (stage == 3)


def test_an_adapter_on_the_output_layer_of_a_policy_is_refused() -> None:
    settings = settings_of(lora=Lora(rank=2, targets=("q_proj", "lm_head")))
    with pytest.raises(SettingsError, match="the output layer takes no adapter"):
        prepare_model(build_model(), settings, config_of(), task="CAUSAL_LM")


def test_several_gpus_in_one_process_are_refused() -> None:
    with pytest.raises(RunError, match=r"(?s)one process sees 4 GPUs.*accelerate launch"):
        refuse_unsupported(SimpleNamespace(n_gpu=4))  # type: ignore[arg-type]


def test_a_transformers_that_would_scale_losses_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_unsupported(config_of())
    monkeypatch.delattr(transformers.Trainer, "loss_is_scaled_for_ga")
    with pytest.raises(RunError, match=r"has no Trainer\.loss_is_scaled_for_ga"):
        refuse_unsupported(config_of())
