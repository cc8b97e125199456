"""Help pages of settings."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import Field

from prefboost.errors import SettingsError
from prefboost.recipes.explain import explain, schema
from prefboost.settings import Settings, choice


class One(Settings):
    """The first way (some paper, eq. 1).

    More about it.
    """

    kind: Literal["one"] = "one"
    beta: float = Field(0.1, description="Strength.")


class Root(Settings):
    """A tree."""

    way: Annotated[One, choice({"one": One})] = Field(One(), description="Which way.")
    rate: float = Field(description="The rate.")


def test_the_root_lists_its_settings() -> None:
    page = explain(Root)
    assert page.about == "A tree."
    assert [each.name for each in page.settings] == ["way", "rate"]


def test_a_choice_lists_its_arms_with_their_first_sentence() -> None:
    page = explain(Root, "way")
    assert page.about == "Which way."
    assert page.arms == {"one": "The first way (some paper, eq. 1)."}


@pytest.mark.parametrize("path", ["way.beta", "way.one.beta"])
def test_a_setting_below_a_choice_is_found_with_and_without_its_arm(path: str) -> None:
    page = explain(Root, path)
    assert (page.about, page.holds, page.default) == ("Strength.", "number", "0.1")


def test_an_arm_has_a_page_of_its_own() -> None:
    page = explain(Root, "way.one")
    assert page.about == "The first way (some paper, eq. 1)."
    assert [each.name for each in page.settings] == ["kind", "beta"]


@pytest.mark.parametrize(
    ("path", "hint"), [("wy", "did you mean way?"), ("way.betta", "way.beta?"), ("rate.x", "no settings")]
)
def test_a_path_that_is_no_setting_is_refused_with_a_hint(path: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        explain(Root, path)
    assert hint in str(caught.value)


def test_the_json_schema_names_kinds_and_descriptions() -> None:
    text = json.dumps(schema(Root))
    assert '"one"' in text
    assert "Strength." in text
