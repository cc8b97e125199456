"""Adapters that a training adds, and adapters that it starts from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from tests.training.conftest import CHATML, GOALS, SAY, build_folder, build_model, build_tokenizer
from tests.training.policy.test_train import settings_of

from prefboost.errors import ModelError, SettingsError
from prefboost.training import Lora, TrainReward, train, train_reward
from prefboost.training.adapters import adapter_base, adapter_chain, check_targets, merge_adapter, tokenizer_home
from prefboost.training.forecast import forecast_policy, forecast_reward
from prefboost.training.policy.model import load_model, load_policy


def adapted(base: Path, task: str = "CAUSAL_LM") -> Any:
    """A model with an adapter that changes something."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    base_model = (
        AutoModelForCausalLM.from_pretrained(base)
        if task == "CAUSAL_LM"
        else AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    )
    model = get_peft_model(base_model, LoraConfig(task_type=task, target_modules="all-linear"))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def test_training_goes_on_from_an_adapter_merged_into_its_base(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    start = adapted(tiny)
    start.save_pretrained(tmp_path / "adapter")
    build_tokenizer().save_pretrained(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    loaded = load_model(settings_of(tmp_path / "adapter"), str(tmp_path / "adapter"))
    assert torch.allclose(loaded(ids).logits, start(ids).logits, atol=1e-5)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    report = train(pairs, settings_of(tmp_path / "adapter", max_steps=2), tmp_path / "run", goals=GOALS)
    trained = AutoModelForCausalLM.from_pretrained(report.model)
    assert not torch.equal(trained(ids).logits, start(ids).logits)
    assert (trained(ids).logits - start(ids).logits).abs().max() < 1.0


def test_new_adapters_on_a_merged_one_name_it_as_their_base(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    adapted(tiny).save_pretrained(tmp_path / "first")
    build_tokenizer().save_pretrained(tmp_path / "first")
    settings = settings_of(tmp_path / "first", max_steps=1, lora=Lora(rank=2, merge=False))
    report = train(pairs, settings, tmp_path / "run", goals=GOALS)
    assert adapter_base(report.model) == str(tmp_path / "first")
    ids = torch.tensor([[5, 6, 7, 8]])
    again = load_policy(settings_of(Path(report.model))).model(ids).logits
    first = load_policy(settings_of(tmp_path / "first")).model(ids).logits
    assert (again - first).abs().max() < 0.5 and not torch.equal(again, first)


def test_an_adapter_without_a_tokenizer_takes_that_of_its_base(tiny: Path, tmp_path: Path) -> None:
    adapted(tiny).save_pretrained(tmp_path / "bare")
    assert tokenizer_home(str(tiny), [str(tmp_path / "bare")]) == str(tiny)
    assert load_policy(settings_of(tmp_path / "bare")).tokenizer.chat_template


def test_a_language_models_adapter_goes_under_a_reward_head_and_a_reward_models_brings_its_own(
    tiny: Path, tmp_path: Path
) -> None:
    from prefboost.training.reward.settings import TrainReward
    from prefboost.training.reward.start import load_start

    for task in ("CAUSAL_LM", "SEQ_CLS"):
        start = adapted(tiny, task)
        start.save_pretrained(tmp_path / task)
        found = load_start(TrainReward(model=str(tmp_path / task), precision="fp32"))
        expected, bare = start.merge_and_unload(), build_model()
        key = "model.layers.0.mlp.up_proj.weight"
        assert torch.allclose(found.model.state_dict()[key], expected.state_dict()[key], atol=1e-6)
        assert not torch.equal(found.model.state_dict()[key], bare.state_dict()[key])
        if task == "SEQ_CLS":
            assert torch.equal(found.model.score.weight, expected.score.weight)


def test_what_is_no_adapter_is_none_and_faults_of_adapters_are_named(tiny: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig, get_peft_model

    assert adapter_base(str(tiny)) is None
    adapted(tiny).save_pretrained(tmp_path / "nameless")
    config = tmp_path / "nameless" / "adapter_config.json"
    named = json.loads(config.read_text())
    config.write_text(json.dumps(named | {"base_model_name_or_path": None}))
    with pytest.raises(ModelError, match="does not name its base"):
        adapter_base(str(tmp_path / "nameless"))
    config.write_text(json.dumps(named | {"base_model_name_or_path": str(tmp_path / "nameless")}))
    with pytest.raises(ModelError, match="names itself as its base model"):
        adapter_chain(str(tmp_path / "nameless"))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot load the adapter"):
        adapter_base(str(tmp_path / "broken"))
    prompts = get_peft_model(build_model(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    prompts.save_pretrained(tmp_path / "prompts")
    with pytest.raises(ModelError, match="kind PROMPT_TUNING, which cannot be merged"):
        merge_adapter(build_model(), str(tmp_path / "prompts"))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("q_porj",), "'q_porj' matches no layer; did you mean q_proj"),
        ("q_proj", "'q_proj' matches no layer(.|\n)*names in a list"),
        ("(", "not a regular expression"),
        ((), "is empty"),
    ],
)
def test_targets_that_match_no_layer_are_refused(targets: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        check_targets(build_model(), Lora(targets=targets))


@pytest.mark.parametrize("targets", ["all-linear", ("q_proj", "v_proj"), r".*\.(q|v)_proj", ("lm_head",)])
def test_targets_that_peft_takes_pass(targets: Any) -> None:
    assert check_targets(build_model(), Lora(targets=targets)) == []


def test_one_name_of_several_that_matches_nothing_is_said() -> None:
    [said] = check_targets(build_model(), Lora(targets=("q_proj", "v_porj")))
    assert said == "lora.targets: no layer is called 'v_porj'; did you mean v_proj?"


def test_layers_that_take_no_adapters_are_a_fault_of_the_setting(tmp_path: Path, pairs: pa.Table) -> None:
    folder = build_folder(tmp_path / "model")
    settings = settings_of(folder, max_steps=1, lora=Lora(targets=("input_layernorm",)))
    with pytest.raises(SettingsError, match=r"lora\.targets .*RMSNorm"):
        train(pairs, settings, tmp_path / "run", goals=GOALS)


_HUB_SCRIPT = """
import json, sys
from prefboost.training import Train, TrainReward
from prefboost.training.adapters import adapter_chain, tokenizer_home
from prefboost.training.forecast import forecast_policy, forecast_reward
from prefboost.training.policy.model import load_policy
from tests.training.conftest import SAY, build_pairs

found, pairs = {}, build_pairs(4)
for name in ("org/adapter", "org/own"):
    policy = load_policy(Train(model=name, revision="main", precision="fp32"))
    shares = {key: float(weight.double().sum()) for key, weight in policy.model.named_parameters() if "q_proj" in key}
    small = {"model": name, "precision": "fp32", "batch_size": 4}
    forecasts = forecast_policy(pairs, Train(**small), say=SAY), forecast_reward(pairs, TrainReward(**small))
    steps = [forecast.counts["steps"] for forecast in forecasts]
    chain = adapter_chain(name)
    found[name] = [chain, tokenizer_home(*chain), policy.tokenizer.chat_template, shares, steps]
print(json.dumps(found))
"""


def _cache_on_hub(hub: Path, name: str) -> Path:
    """An empty snapshot of a repository, laid out as the hub's client keeps it."""
    folder = hub / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    return folder / "snapshots" / ("a" * 40)


def test_an_adapter_of_the_hub_is_found_with_its_base_and_tokenizer_in_the_cache(tmp_path: Path) -> None:
    build_folder(_cache_on_hub(tmp_path, "org/base"))
    adapter = adapted(build_folder(tmp_path / "local"))
    adapter.peft_config["default"].base_model_name_or_path = "org/base"
    adapter.save_pretrained(_cache_on_hub(tmp_path, "org/adapter"))
    adapter.save_pretrained(own := _cache_on_hub(tmp_path, "org/own"))
    build_tokenizer(CHATML + "\n").save_pretrained(own)
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _HUB_SCRIPT],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    merged = dict(adapter.merge_and_unload().named_parameters())
    found = json.loads(done.stdout.splitlines()[-1])
    for name, tokenizer, text in (("org/adapter", "org/base", CHATML), ("org/own", "org/own", CHATML + "\n")):
        chain, home, template, shares, steps = found[name]
        assert chain == ["org/base", [name]] and min(steps) > 0
        assert (home, template) == (tokenizer, text)
        assert shares == pytest.approx({key: float(merged[key].double().sum()) for key in shares}, rel=1e-6)


def test_a_dry_run_reads_an_adapters_base(tiny: Path, pairs: pa.Table, tmp_path: Path) -> None:
    adapted(tiny).save_pretrained(tmp_path / "adapter")
    predicted = forecast_policy(pairs, settings_of(tmp_path / "adapter"), say=SAY)
    assert predicted.counts == forecast_policy(pairs, settings_of(tiny), say=SAY).counts and predicted.seconds


ENCODER_DECODERS = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0},
    "bart": {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
             "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64},
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(ENCODER_DECODERS))
def test_encoder_decoders_are_refused_by_name_before_anything_is_loaded(
    kind: str, pairs: pa.Table, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForSeq2SeqLM

    sizes = {"vocab_size": 259, **ENCODER_DECODERS[kind]}
    AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(kind, **sizes)).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    policy, reward = settings_of(tmp_path / "model"), TrainReward(model=str(tmp_path / "model"), precision="fp32")
    calls: list[Callable[[], object]] = [
        lambda: train(pairs, policy, tmp_path / "policy", goals=GOALS),
        lambda: train_reward(pairs, reward, tmp_path / "reward"),
        lambda: forecast_policy(pairs, policy, say=SAY),
        lambda: forecast_reward(pairs, reward),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=rf"is an encoder-decoder \({kind}\)(.|\n)*decoder-only"):
            call()


def test_encoders_are_refused_as_policies_and_taken_as_reward_models(pairs: pa.Table, tmp_path: Path) -> None:
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=259, **sizes)).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    for call in (lambda: forecast_policy(pairs, settings_of(tmp_path / "model"), say=SAY),
                 lambda: train(pairs, settings_of(tmp_path / "model"), tmp_path / "policy", goals=GOALS)):  # fmt: skip
        with pytest.raises(ModelError, match=r"is an encoder \(bert\)(.|\n)*decoder-only"):
            call()
    reward = TrainReward(model=str(tmp_path / "model"), precision="fp32", batch_size=4)
    assert forecast_reward(pairs, reward).engine == "padded"
