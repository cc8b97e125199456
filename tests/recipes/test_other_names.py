"""Names of TRL, transformers and peft are answered with what to write here."""

from __future__ import annotations

import dataclasses

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.kinds import OFFLINE, RECIPES
from prefboost.recipes.load import load
from prefboost.recipes.other_names import OTHER_NAMES, UNOFFERED_NAMES, suggest_own_name
from prefboost.recipes.tree import settings_of
from prefboost.training import Train
from prefboost.training.optimisation import _REFUSED


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_every_suggestion_is_a_setting_of_a_training_and_no_name_is_one_itself(name: str) -> None:
    own, remark = OTHER_NAMES[name]
    assert name not in Train.model_fields
    if not own:
        assert remark
        return
    first, _, deeper = own.partition(".")
    (setting,) = [each for each in settings_of(Train) if each.name == first]
    classes = [*setting.classes, *(arm for _, arm in (setting.arms or {}).items())]
    assert not deeper or any(deeper in each.model_fields for each in classes)


@pytest.mark.parametrize(
    ("override", "write"),
    [
        ("train.num_train_epochs=3", r"here it is epochs: write train\.epochs=\.\.\."),
        ("num_train_epochs=3", r"write train\.epochs="),
        ("train.eval_steps=10", r"write train\.eval_every="),
        ("train.lora.r=8", r"write train\.lora\.rank="),
        ("train.r=8", r"write train\.lora\.rank="),
        ("train.target_modules=all-linear", r"write train\.lora\.targets="),
        ("train.loss_type=ipo", r"write train\.loss="),
        ("train.beta=0.1", r"write train\.loss\.beta="),
        ("train.load_in_4bit=true", r"write train\.lora\.quantize="),
        ("train.simpo_gamma=0.5", r"write train\.loss\.gamma_beta_ratio="),
        ("train.truncation_mode=keep_end", r"write train\.max_prompt_length="),
        ("train.adam_beta2=0.95", "no counterpart here: leave it out"),
        ("train.lora.use_dora=true", "no counterpart here: leave it out"),
        ("train.deepspeed=zero3.json", "accelerate launch --use_deepspeed"),
        ("output_dir=out", "name=NAME and --runs-dir RUNS"),
    ],
)
def test_an_override_with_a_name_from_elsewhere_is_told_what_to_write(override: str, write: str) -> None:
    with pytest.raises(SettingsError, match=write):
        load("qwen2-7b-ra", [override])


def test_no_setting_here_is_called_unoffered() -> None:
    lora = next(setting for setting in settings_of(Train) if setting.name == "lora")
    ours = set(Train.model_fields).union(*(each.model_fields for each in lora.classes))
    assert not UNOFFERED_NAMES & (ours | set(OTHER_NAMES))


@pytest.mark.parametrize(("library", "configuration"), [("trl", "DPOConfig"), ("peft", "LoraConfig")])
def test_every_setting_of_trl_transformers_and_peft_is_ours_or_answered(library: str, configuration: str) -> None:
    elsewhere = dataclasses.fields(getattr(pytest.importorskip(library), configuration))
    answered = set(OTHER_NAMES) | UNOFFERED_NAMES | set(_REFUSED) | set(Train.model_fields)
    assert [each.name for each in elsewhere if each.name not in answered] == []


def test_other_names_get_the_nearest_one_as_before() -> None:
    assert suggest_own_name(["train", "betta"], ["loss"]) is None
    assert OFFLINE in RECIPES
    with pytest.raises(SettingsError, match=r"did you mean beta\?"):
        load("qwen2-7b-ra", ["train.loss.betta=1"])


def test_a_name_that_is_ours_and_only_another_losses_gets_no_hint_to_write_it_again() -> None:
    with pytest.raises(SettingsError, match="label_smoothing is not a setting here") as told:
        load("qwen2-7b-ra", ["train.loss.kind=ipo", "train.loss.label_smoothing=0.1"])
    assert "write train.loss.label_smoothing" not in str(told.value)
