"""Loading a policy, and the forward that scores completions."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tests.training.conftest import GOALS, build_model, build_pairs, build_tokenizer

from prefboost.errors import ModelError, SettingsError
from prefboost.losses.completion_logps import compute_logps, pad_sequences
from prefboost.training import Lora, Train, TrainReward, train
from prefboost.training.engine.callbacks import read_log
from prefboost.training.policy.model import (
    _quantize_base,
    add_completion_forward,
    check_completion_forward,
    choose_training_device,
    load_model,
    load_policy,
    load_policy_tokenizer,
    shares_weights,
)


def test_a_policy_scores_completions_through_its_own_forward(tiny: Path) -> None:
    policy = load_policy(Train(model=str(tiny), precision="fp32"))
    padded = pad_sequences([[1, 2]], [[3, 4]], 0)
    found = policy.model(**padded)
    assert torch.equal(found, compute_logps(policy.model, **padded))
    assert policy.model(input_ids=padded["input_ids"]).logits.shape == (1, 4, 259)


def test_generation_still_works(tiny: Path) -> None:
    policy = load_policy(Train(model=str(tiny), precision="fp32"))
    written = policy.model.generate(torch.tensor([[1, 2, 3]]), max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert written.shape == (1, 7)


def test_a_template_can_be_given_as_text_or_file(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{{ 'own' }}")
    for given in ("{{ 'own' }}", str(file)):
        assert load_policy_tokenizer(Train(model=str(tiny), chat_template=given)).chat_template == "{{ 'own' }}"
    with pytest.raises(ModelError, match="neither Jinja text nor a file"):
        load_policy_tokenizer(Train(model=str(tiny), chat_template="absent.jinja"))


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    model = build_model()
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_policy(Train(model=str(tmp_path)))


def test_an_architecture_with_unknown_logits_is_refused() -> None:
    model = build_model()
    add_completion_forward(model)
    check_completion_forward(model, [1, 2, 3, 4])
    original = model.forward

    def doubled(*args: object, **kwargs: object) -> object:
        output = original(*args, **kwargs)
        if hasattr(output, "logits"):
            output.logits = output.logits * 2
        return output

    model.forward = doubled
    with pytest.raises(ModelError, match="changes its logits"):
        check_completion_forward(model, [1, 2, 3, 4])


def test_a_process_trains_on_its_own_gpu_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_training_device({"LOCAL_RANK": "1"}) == torch.device("cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_training_device({"LOCAL_RANK": "1"}) == torch.device("cuda", 1)
    assert choose_training_device({}) == torch.device("cuda", 0)


def test_the_launcher_says_whether_devices_hold_parts_of_the_weights() -> None:
    assert shares_weights({"ACCELERATE_USE_FSDP": "true"}) and shares_weights({"ACCELERATE_USE_DEEPSPEED": "true"})
    assert not shares_weights({"ACCELERATE_USE_FSDP": "false"}) and not shares_weights({})


def test_a_checkpoint_without_some_weights_is_refused(tiny: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, tmp_path / "model")
    weights = {name: weight for name, weight in load_file(tiny / "model.safetensors").items() if "mlp" not in name}
    save_file(weights, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 6 weights of LlamaForCausalLM, e\.g\. model\.layers\.0\.mlp"):
        load_policy(Train(model=str(tmp_path / "model"), precision="fp32"))


def test_a_model_that_looks_ahead_is_refused() -> None:
    from transformers import BertConfig, BertLMHeadModel

    torch.manual_seed(0)
    sizes = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 32, "initializer_range": 0.3}
    model = BertLMHeadModel(BertConfig(**sizes, num_hidden_layers=2, num_attention_heads=2)).eval()
    add_completion_forward(model)
    with pytest.raises(ModelError, match="attends to later tokens"):
        check_completion_forward(model, [1, 2, 3, 4])


def test_log_probs_that_are_not_finite_are_said_to_be() -> None:
    model = build_model()
    add_completion_forward(model)
    with torch.no_grad():
        model.model.norm.weight.fill_(3e38)
    with pytest.raises(ModelError, match="as the log-prob of eight tokens, from finite weights"):
        check_completion_forward(model, [1, 2, 3, 4])


@pytest.fixture
def quantized(tmp_path: Path) -> Train:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed (extra qlora)")
    build_model(hidden_size=64, intermediate_size=128).save_pretrained(tmp_path / "wide")
    build_tokenizer().save_pretrained(tmp_path / "wide")
    lora = Lora(rank=2, quantize="nf4", merge=False)
    return Train(
        model=str(tmp_path / "wide"), precision="fp32", lora=lora, max_steps=2, batch_size=8, learning_rate=1e-3
    )


def test_a_base_in_4_bits_passes_the_gradients_of_its_weights_in_full(quantized: Train) -> None:
    from bitsandbytes.functional import dequantize_4bit

    model = load_model(quantized, quantized.model)
    full = build_model(hidden_size=64, intermediate_size=128)
    layers = dict(full.named_modules())
    for name, module in model.named_modules():
        if getattr(module.weight if hasattr(module, "weight") else None, "quant_state", None) is not None:
            layers[name].weight.data = dequantize_4bit(module.weight.data, module.weight.quant_state).float()
    rounded = build_model(hidden_size=64, intermediate_size=128).model.layers[0].mlp.up_proj.weight
    assert not torch.equal(full.model.layers[0].mlp.up_proj.weight, rounded)
    ids = torch.arange(60, 80)[None]
    gradients = []
    for each in (model, full):
        each.eval()
        with torch.no_grad():
            each(input_ids=ids)  # as the reference pass, after which bitsandbytes' own weights pass nothing on
        each.train()
        embedded = each.get_input_embeddings()(ids).detach().requires_grad_()
        each(inputs_embeds=embedded).logits.square().sum().backward()
        gradients.append(embedded.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-4)
    assert float(gradients[0].abs().max()) > 0.1


def test_a_base_in_4_bits_is_trained_packed_and_its_adapter_saved_alone(quantized: Train, tmp_path: Path) -> None:
    report = train(build_pairs(8), quantized, tmp_path / "run", goals=GOALS)
    assert report.engine == "packed" and report.steps == 2
    [first, *_] = [line["loss"] for line in read_log(tmp_path / "run" / "train_log.jsonl") if "loss" in line]
    assert first == pytest.approx(math.log(2), abs=1e-5)
    saved = {file.name for file in (tmp_path / "run" / "model").iterdir()}
    assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved


def test_an_adapter_cannot_be_the_base_in_4_bits() -> None:
    with pytest.raises(SettingsError, match="first is an adapter, and its update cannot be added to base in 4 bits"):
        _quantize_base(Train(model="first", precision="fp32"), "base", ["first"])


def test_4_bits_are_refused_where_they_cannot_be() -> None:
    with pytest.raises(ValidationError, match="write merge: false"):
        Lora(quantize="nf4")
    with pytest.raises(ValidationError, match=r"lora\.quantize is for policies"):
        TrainReward(model="m", lora={"quantize": "nf4", "merge": False})
