"""Loading a policy, and the forward that scores completions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.training.conftest import build_model, build_tokenizer

from prefboost.errors import ModelError
from prefboost.losses.completion_logps import compute_logps, pad_sequences
from prefboost.training import Train
from prefboost.training.policy.model import (
    add_completion_forward,
    check_completion_forward,
    choose_training_device,
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
