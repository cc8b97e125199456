"""Walking settings classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from prefboost.recipes.tree import classes_at, default_at, settings_of
from prefboost.settings import Settings, choice


class One(Settings):
    kind: Literal["one"] = "one"
    x: int = Field(1, description="X.")


class Two(Settings):
    kind: Literal["two"] = "two"
    y: dict[str, float] = Field({}, description="Y.")


class Leaf(Settings):
    z: bool = Field(True, description="Z.")


class Root(Settings):
    arm: Annotated[One | Two, choice({"one": One, "two": Two})] = Field(One(), description="Arm.")
    maybe: Annotated[One, choice({"one": One})] | None = Field(None, description="Maybe.")
    many: list[Annotated[One | Two, choice({"one": One, "two": Two})]] = Field([], description="Many.")
    leaf: Leaf = Field(Leaf(), description="Leaf.")
    place: Literal["a", "b"] = Field(description="Place.")
    size: int | None = Field(None, description="Size.")


def test_each_setting_says_what_it_holds_and_its_default() -> None:
    shown = {each.name: (each.holds, each.default) for each in settings_of(Root)}
    assert shown == {
        "arm": ("kind", "one"),
        "maybe": ("kind or null", "null"),
        "many": ("list of kind", "[]"),
        "leaf": ("settings", "see below"),
        "place": ("a or b", ""),
        "size": ("integer or null", "null"),
    }
    assert [each.name for each in settings_of(Root) if each.required] == ["place"]
    assert settings_of(Two)[1].holds == "mapping of text to number"


def test_arms_are_found_behind_optional_and_in_lists() -> None:
    arms = {each.name: list(each.arms) for each in settings_of(Root)}
    assert arms["arm"] == arms["many"] == ["one", "two"]
    assert arms["maybe"] == ["one"]


def test_the_class_at_a_path_follows_kinds_names_of_arms_and_indices() -> None:
    assert classes_at(Root, ()) == [Root]
    assert classes_at(Root, ("leaf",)) == [Leaf]
    assert classes_at(Root, ("arm",)) == [One, Two]
    assert classes_at(Root, ("arm", "two")) == [Two]
    assert classes_at(Root, ("arm",), {"arm": {"kind": "two"}}) == [Two]
    assert classes_at(Root, ("many", 1), {"many": ["one", {"kind": "two"}]}) == [Two]
    assert classes_at(Root, ("size",)) == []


def test_a_default_is_its_kind_and_what_its_class_would_not_say() -> None:
    assert default_at(Root, {}, ("arm",)) == {"kind": "one"}
    assert default_at(Root, {}, ("leaf",)) == default_at(Root, {}, ("maybe",)) == {}
    assert default_at(Root, {}, ("arm", "x")) == default_at(Root, {}, ("nowhere",)) == {}
