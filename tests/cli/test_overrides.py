"""Every verb reads ``key=value`` by one grammar."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field

from prefboost.cli.overrides import (
    expand_model,
    get_first_name,
    load_settings_class,
    place_overrides,
    read_kind,
    read_overrides,
    refuse_name,
    split_overrides,
)
from prefboost.errors import SettingsError
from prefboost.settings import Settings, choice

NAMES = {"loss": "train.", "pair": ""}


class Short(Settings):
    kind: Literal["short"] = "short"
    most: int = 3


class Long(Settings):
    kind: Literal["long"] = "long"
    least: int = 9


class Foreign(Settings):
    words: tuple[str, ...] = ()


KINDS: dict[str, type[Settings]] = {"short": Short, "long": Long}


class Job(Settings):
    taste: Annotated[Short | Long, choice(KINDS)] = Field(Short())
    rows: int = 1


@pytest.mark.parametrize("text", ["loss.beta=0.1", "loss = {kind: dpo}", "loss=a=b", "loss"])
def test_the_first_name_is_in_front_of_a_dot_or_an_equals_sign(text: str) -> None:
    assert get_first_name(text) == "loss"


def test_every_key_gets_the_branch_of_its_name() -> None:
    assert place_overrides(["loss.beta=0.1", "pair=all_pairs"], NAMES) == ["train.loss.beta=0.1", "pair=all_pairs"]


def test_a_branch_may_be_a_function_that_writes_several_overrides_or_refuses() -> None:
    names = {"both": lambda key, value: [f"{side}.{key}={value}" for side in ("a", "b") if value != "no"]}
    assert place_overrides(["both.x = 1"], names) == ["a.both.x=1", "b.both.x=1"]
    with pytest.raises(SettingsError, match="both is not a setting here"):
        place_overrides(["both=no"], names)


@pytest.mark.parametrize("text", ["los.beta=0.1", "los", "=1"])
def test_a_name_without_a_branch_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a setting here[\s\S]*settings here: loss, pair; or FILE"):
        place_overrides([text], NAMES, "; or FILE")


def test_an_override_without_a_value_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"'loss.beta' has no value[\s\S]*write loss.beta=VALUE"):
        place_overrides(["loss.beta"], NAMES)


def test_the_nearest_name_is_offered() -> None:
    assert "did you mean loss?" in str(refuse_name("los=1", NAMES))
    assert "did you mean" not in str(refuse_name("zzz=1", NAMES))


def test_overrides_are_split_by_their_first_name() -> None:
    assert split_overrides(["a.b=1", "c=2", "a=3"], ("a",)) == (["a.b=1", "a=3"], ["c=2"])


def test_settings_are_read_on_top_of_a_base() -> None:
    assert read_overrides(Job, ["rows=3"]) == Job(rows=3)
    names = {"most": "taste.", "rows": ""}
    assert read_overrides(Job, ["most=5"], names, {"rows": 2}) == Job(taste=Short(most=5), rows=2)


def test_the_settings_of_a_kind_stand_alone() -> None:
    assert read_kind(["kind=long", "least=4", "rows=2"], Job, "taste", KINDS) == Job(taste=Long(least=4), rows=2)
    with pytest.raises(SettingsError, match=r"no taste is named[\s\S]*one of short, long"):
        read_kind(["rows=2"], Job, "taste", KINDS)
    with pytest.raises(SettingsError, match="did you mean rows"):
        read_kind(["row=2"], Job, "taste", KINDS)


def test_so_do_those_of_a_class_of_ones_own() -> None:
    kind = f"{__name__}:Foreign"
    job = read_kind([f"kind={kind}", "words=[a, b]"], Job, "taste", KINDS)
    assert type(job.taste).__name__ == "Foreign" and job.taste.model_dump() == {"words": ("a", "b")}
    with pytest.raises(SettingsError, match="did you mean words"):
        read_kind([f"kind={kind}", "word=a"], Job, "taste", KINDS)


def test_a_class_that_is_nowhere_is_named() -> None:
    assert load_settings_class("short", KINDS) is Short
    with pytest.raises(SettingsError, match=r"nowhere:Class[\s\S]*must be importable"):
        load_settings_class("nowhere:Class", KINDS)


def test_a_model_becomes_the_settings_of_an_engine() -> None:
    key, _, value = expand_model("judge.engine=replay:a.jsonl").partition("=")
    assert (key, json.loads(value)) == ("judge.engine", {"kind": "replay", "path": "a.jsonl"})
    pool = json.loads(expand_model("pool=[A, replay:b]").partition("=")[2])
    assert [engine["kind"] for engine in pool] == ["local", "replay"]
    assert expand_model("engine={kind: replay}") == "engine={kind: replay}" and expand_model("n=2") == "n=2"
