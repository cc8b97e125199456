"""What a library, a model's tables or its weights will refuse is refused before the first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.conftest import GOALS, build_folder, build_model, build_tokenizer
from tests.training.policy.test_train import settings_of
from tiny_models import tiny_model

from prefboost.errors import DataError, ModelError, SettingsError
from prefboost.training import train
from prefboost.training.claim import BEGUN
from prefboost.training.preflight import TokenRange, check_fit, check_request, check_weights, range_of_units
from prefboost.training.reward.settings import TrainReward
from prefboost.training.reward.train import train_reward


def reward_settings(folder: Path, **changes: Any) -> TrainReward:
    return TrainReward(model=str(folder), precision="fp32", max_steps=1, **changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": "adamw_torhc"}, "there is no 'adamw_torhc'; did you mean adamw_torch"),
        ({"optimizer": "lomo"}, "lomo cannot be used here: .*lomo"),
        ({"report_to": ("tensorbord",)}, "no tracker 'tensorbord'; did you mean tensorboard"),
        ({"report_to": ("comet_ml",)}, "comet_ml cannot be used"),
    ],
)
def test_typos_and_libraries_that_are_missing_claim_no_folder(
    changes: dict[str, Any], said: str, tiny: Path, pairs: pa.Table, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        train(pairs, settings_of(tiny, **changes), tmp_path / "policy", goals=GOALS)
    with pytest.raises(SettingsError, match=said):
        train_reward(pairs, reward_settings(tiny, **changes), tmp_path / "reward")
    assert not (tmp_path / "policy" / BEGUN).exists() and not (tmp_path / "reward" / BEGUN).exists()


@pytest.mark.parametrize("optimizer", ["adamw_torch", "adafactor", "sgd", "rmsprop"])
def test_optimisers_that_work_pass(optimizer: str, tiny: Path) -> None:
    check_request(settings_of(tiny, optimizer=optimizer))


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_weights_that_are_not_finite_are_named_before_anything_else(
    value: float, pairs: pa.Table, tmp_path: Path
) -> None:
    model = build_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = value
    model.save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    said = r"1 of 21 weight tensors of .*: model\.layers\.1\.mlp\.up_proj\.weight(.|\n)*damaged"
    with pytest.raises(ModelError, match=said):
        train(pairs, settings_of(tmp_path / "model"), tmp_path / "policy", goals=GOALS)
    with pytest.raises(ModelError, match=said):
        train_reward(pairs, reward_settings(tmp_path / "model"), tmp_path / "reward")
    check_weights(build_model(), "whole")


def test_a_tokenizer_with_more_tokens_than_the_embedding_is_refused_by_token(pairs: pa.Table, tmp_path: Path) -> None:
    build_model(vocab_size=200, pad_token_id=0).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    said = r"token 257 \('<\|im_end\|>'\), but the embedding of .* has 200 rows(.|\n)*resize_token_embeddings\(259\)"
    with pytest.raises(ModelError, match=said):
        train(pairs, settings_of(tmp_path / "model"), tmp_path / "policy", goals=GOALS)
    with pytest.raises(ModelError, match=said):
        train_reward(pairs, reward_settings(tmp_path / "model"), tmp_path / "reward")


def test_tokens_that_no_row_of_the_data_has_do_no_harm(pairs: pa.Table, tmp_path: Path) -> None:
    build_folder(tmp_path / "model")
    tokenizer = build_tokenizer()
    tokenizer.add_tokens(["<|never|>"])
    tokenizer.save_pretrained(tmp_path / "model")
    assert train(pairs, settings_of(tmp_path / "model", max_steps=1), tmp_path / "run", goals=GOALS).steps == 1


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gptj"])
def test_rows_beyond_a_table_of_positions_are_counted_and_refused(kind: str, pairs: pa.Table, tmp_path: Path) -> None:
    sizes = {"vocab_size": 259, "n_positions": 64, "max_position_embeddings": 64}
    if kind == "gptj":
        from transformers import GPTJConfig, GPTJForCausalLM

        model = GPTJForCausalLM(
            GPTJConfig(vocab_size=259, n_positions=64, n_embd=32, n_layer=1, n_head=2, rotary_dim=4)
        )
    else:
        model = tiny_model(kind, **(sizes | ({"max_position_embeddings": None} if kind == "gpt2" else {})))
    model.save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    said = r"\d+ of 24 sequences are longer than the 64 positions of \w+; the longest has \d+(.|\n)*max_length: 64"
    with pytest.raises(DataError, match=said):
        train(pairs, settings_of(tmp_path / "model", max_loss_share=1.0), tmp_path / "run", goals=GOALS)
    fits = settings_of(tmp_path / "model", max_length=64, max_prompt_length=60, max_loss_share=1.0, max_steps=1)
    assert train(pairs, fits, tmp_path / "cut", goals=GOALS).steps == 1


@given(highest=st.integers(0, 400), lengths=st.lists(st.integers(1, 200), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_what_is_refused_is_exactly_what_the_tables_do_not_hold(highest: int, lengths: list[int]) -> None:
    model = tiny_model("gpt2", vocab_size=259, n_positions=128, max_position_embeddings=None)
    wanted = TokenRange(highest, pa.array(lengths))
    if highest >= 259:
        with pytest.raises(ModelError):
            check_fit(model, build_tokenizer(), wanted)
    elif max(lengths) > 128:
        beyond = sum(length > 128 for length in lengths)
        with pytest.raises(DataError, match=f"^{beyond} of {len(lengths)} sequences"):
            check_fit(model, build_tokenizer(), wanted)
    else:
        check_fit(model, build_tokenizer(), wanted)


def test_computed_positions_have_no_table() -> None:
    check_fit(build_model(), build_tokenizer(), TokenRange(5, pa.array([100_000])))


def test_positions_of_a_vision_tower_do_not_limit_text() -> None:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = sizes | {"vocab_size": 259, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 512}
    config = Gemma3Config(text_config=text, vision_config=sizes | {"image_size": 28, "patch_size": 14})
    check_fit(Gemma3ForConditionalGeneration(config), build_tokenizer(), TokenRange(5, pa.array([400])))


def test_units_ask_for_the_prompt_with_its_longer_completion() -> None:
    units = pa.table(
        {"prompt_ids": [[[1, 2], [3]]], "chosen_ids": [[[4], [5, 6, 7]]], "rejected_ids": [[[8, 9], [10]]]}
    )
    found = range_of_units(units)
    assert (found.highest, found.lengths.to_pylist()) == (10, [4, 4])
