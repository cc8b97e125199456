"""Recipes load, and their dumps load to themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import SettingsError
from prefboost.losses import DPO
from prefboost.preferences import BestVsRandom, Percentile
from prefboost.recipes.documents import parse
from prefboost.recipes.load import SHIPPED, dump, list_shipped_recipes, load, load_any, of_kind
from prefboost.recipes.on_policy import OnPolicy

PAPER = {
    "zephyr-7b-ra": ("alignment-handbook/zephyr-7b-sft-full", 0.0, "auto"),
    "mistral-7b-ra": ("mistralai/Mistral-7B-Instruct-v0.3", 0.0, "user"),
    "qwen2-7b-ra": ("Qwen/Qwen2-7B-Instruct", 0.3, "system"),
    "llama3.1-8b-ra": ("meta-llama/Llama-3.1-8B-Instruct", 0.0, "auto"),
    "gemma2-9b-ra": ("google/gemma-2-9b-it", 0.3, "user"),
    "gemma2-9b-sppo-ra": ("UCLA-AGI/Gemma-2-9B-It-SPPO-Iter3", 0.0, "user"),
}


@pytest.mark.parametrize("name", list_shipped_recipes())
def test_every_shipped_recipe_loads_and_its_dump_loads_to_itself(name: str) -> None:
    recipe = load_any(name)
    assert recipe.name == name
    assert of_kind(parse(dump(recipe))) == recipe


@pytest.mark.parametrize("name", list_shipped_recipes())
def test_every_shipped_recipe_says_where_it_is_from(name: str) -> None:
    text = (SHIPPED / f"{name}.yaml").read_text()
    assert text.startswith("# ")
    assert "arXiv:2410.08067" in text


@pytest.mark.parametrize("name", PAPER)
def test_the_recipes_of_the_paper_have_its_hyper_parameters(name: str) -> None:
    recipe = load(name)
    train = recipe.train
    model, label_smoothing, place = PAPER[name]
    assert (train.model, recipe.condition.place) == (model, place)
    assert (train.loss.beta, train.loss.label_smoothing) == (0.01, label_smoothing)  # type: ignore[attr-defined]
    assert (train.learning_rate, train.schedule, train.warmup_ratio) == (5e-7, "cosine", 0.1)
    assert (train.epochs, train.batch_size, train.max_length, train.max_prompt_length, train.seed) == (
        1,
        128,
        1024,
        512,
        42,
    )


def test_a_file_is_loaded_with_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: scored.jsonl\ntrain: {model: tiny}\n")
    recipe = load(path, ["train.loss=simpo", "condition.place=user"])
    assert recipe.train.loss.kind == "simpo"  # type: ignore[attr-defined]
    assert recipe.condition.place == "user"


def test_overrides_reach_branches_that_a_recipe_does_not_write_out(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ndata: scored.jsonl\ntrain: {model: tiny}\n")
    recipe = load(
        path, ["relabel.aspects=[helpfulness]", "pair.seed=3", "scale.kind=percentile", "train.loss.beta=0.3"]
    )
    assert (recipe.relabel.kind, recipe.relabel.aspects) == ("reward_augmented", ("helpfulness",))  # type: ignore[union-attr]
    assert recipe.pair == BestVsRandom(seed=3) and recipe.scale == Percentile() and recipe.train.loss == DPO(beta=0.3)
    rounds = "kind: on_policy\nname: r\nprompts: p.txt\nscorer: rules\ntrain: {model: m}\n"
    path.write_text(rounds)
    found = load_any(path, ["generate.sampling.max_tokens=12"])
    assert isinstance(found, OnPolicy)
    path.write_text(rounds + "generate: {sampling: {max_tokens: 12}}\n")
    assert load_any(path) == found


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"- a", b"", b"a: [", b"name: \xed\xa0\x80"])
def test_what_is_no_recipe_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"broken\.yaml"):
        load(path)


def test_an_unknown_name_lists_the_shipped_recipes() -> None:
    with pytest.raises(SettingsError, match="qwen2-7b-ra"):
        load("no-such-recipe")


def test_a_recipe_of_several_stages_is_not_loaded_as_one_to_train() -> None:
    with pytest.raises(SettingsError, match="prefboost run smollm2-135m-on-policy"):
        load("smollm2-135m-on-policy")
