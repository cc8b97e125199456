"""Reward models are loaded, packed where that changes nothing, and padded where it would."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prefboost.chat.rendering import ChatEncoder
from prefboost.engines.models.reward_model import (
    RewardModel,
    enable_packed_rewards,
    load_reward_model,
    rewards_of,
    text_ids,
    text_tensors,
)
from prefboost.errors import ModelError

pytestmark = pytest.mark.torch

SIZES: dict[str, Any] = {
    "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 99,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
TEXTS = [[5, 6, 7, 8, 9], [5, 6, 7, 8, 9, 10, 11], [12], list(range(5, 40))]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.training.conftest import build_folder

    folder = tmp_path_factory.mktemp("judge")
    base = build_folder(folder / "base")
    torch.manual_seed(0)
    found = load_reward_model(str(base), "float32", heads=["helpful", "honest"])
    found.model.save_pretrained(folder / "rm")
    found.tokenizer.save_pretrained(folder / "rm")
    return folder / "rm"


def of_architecture(config: Any) -> RewardModel:
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2)
    return RewardModel(model.eval(), None, unpacked="not tried")


def test_heads_and_their_order_stand_in_the_checkpoint(judge: Path) -> None:
    assert load_reward_model(str(judge)).heads == ("helpful", "honest")


def test_a_language_model_is_no_reward_model(judge: Path) -> None:
    with pytest.raises(ModelError, match=r"is not a reward model: its checkpoint lacks score\.weight"):
        load_reward_model(str(judge.parent / "base"))


def test_a_missing_model_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot load[\s\S]*-> give a folder"):
        load_reward_model(str(tmp_path))


@pytest.mark.parametrize("kind", ["qwen2", "gemma2", "gpt2", "mistral"])
def test_packed_and_padded_rewards_agree_on_decoders(kind: str) -> None:
    from transformers import AutoConfig

    names = {"n_layer": 2, "n_head": 4, "n_embd": 32} if kind == "gpt2" else {"num_key_value_heads": 2, "head_dim": 8}
    found = enable_packed_rewards(of_architecture(AutoConfig.for_model(kind, **SIZES, **names)))
    assert found.packs, found.unpacked
    padded = replace(found, unpacked="for comparison")
    with torch.no_grad():
        expected = rewards_of(padded, text_tensors(padded, TEXTS))
        torch.testing.assert_close(rewards_of(found, text_tensors(found, TEXTS)), expected, atol=1e-4, rtol=1e-4)
    assert expected.unique().numel() == expected.numel()


@pytest.mark.parametrize("kind", ["bert", "bloom"])
def test_other_architectures_are_padded_and_say_why(kind: str) -> None:
    from transformers import AutoConfig

    names = {"n_layer": 2, "n_head": 4} if kind == "bloom" else {}
    found = enable_packed_rewards(of_architecture(AutoConfig.for_model(kind, **SIZES, **names)))
    assert not found.packs and type(found.model).__name__ in found.unpacked
    with torch.no_grad():
        rewards = rewards_of(found, text_tensors(found, TEXTS))
        alone = torch.cat([rewards_of(found, text_tensors(found, [ids])) for ids in TEXTS])
    torch.testing.assert_close(rewards, alone, atol=1e-4, rtol=1e-4)


def test_an_unknown_output_is_an_error(judge: Path) -> None:
    found = replace(load_reward_model(str(judge), "float32"), output="score")
    assert not enable_packed_rewards(found).packs
    with pytest.raises(ModelError, match="has no output 'score'; it has"):
        rewards_of(found, text_tensors(found, TEXTS))


def test_no_text_ends_with_padding(judge: Path) -> None:
    found = load_reward_model(str(judge))
    prompt = [{"role": "user", "content": "hi", "extra": None}]
    answer = [{"role": "assistant", "content": "yes", "extra": None}]
    whole = text_ids(ChatEncoder(found.tokenizer), prompt, answer, -1)
    assert text_ids(ChatEncoder(found.tokenizer), prompt, answer, whole[-1]) == whole[:-1]


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_padded_rewards_do_not_depend_on_neighbours_beyond_a_switch_of_frequencies(kind: str) -> None:
    from tests.losses.test_rope_by_length import DYNAMIC, LONGROPE, SWITCH
    from transformers import LlamaConfig, Phi3Config

    config = {"longrope": Phi3Config, "dynamic": LlamaConfig}[kind]
    found = of_architecture(config(**{**SIZES, **{"longrope": LONGROPE, "dynamic": DYNAMIC}[kind]}))
    texts = [list(range(5, 5 + count)) for count in (SWITCH - 3, SWITCH + 7, SWITCH)]
    with torch.no_grad():
        alone = [rewards_of(found, text_tensors(found, [text])) for text in texts]
        together = rewards_of(found, text_tensors(found, texts))
        reversed_order = rewards_of(found, text_tensors(found, texts[::-1]))
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    assert torch.allclose(reversed_order.flip(0), torch.cat(alone), atol=1e-5)


def test_the_key_of_stored_rewards_says_where_they_depended_on_neighbours() -> None:
    from tests.losses.test_rope_by_length import LONGROPE
    from transformers import LlamaConfig, Phi3Config

    from prefboost.losses.rope_by_length import name_frequencies

    assert name_frequencies(of_architecture(LlamaConfig(**SIZES)).model) == ""
    assert name_frequencies(of_architecture(Phi3Config(**SIZES, **LONGROPE)).model) == "/rope-by-length"
