"""Every kind of recipe."""

from __future__ import annotations

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.documents import parse
from prefboost.recipes.kinds import OFFLINE, RECIPES
from prefboost.recipes.load import of_kind


def test_a_recipe_without_a_kind_is_an_offline_one() -> None:
    text = "name: x\ndata: a.jsonl\ntrain: {model: m}\n"
    assert of_kind(parse(text)) == of_kind(parse(f"kind: offline\n{text}"))
    assert type(of_kind(parse(text))) is RECIPES[OFFLINE]


@pytest.mark.parametrize("kind", ["onpolicy", "[a]", "3"])
def test_an_unknown_kind_is_refused_with_its_line_and_the_kinds(kind: str) -> None:
    with pytest.raises(SettingsError, match=r"a\.yaml:2: kind .* is not a kind of recipe(.|\n)*implicit_reward"):
        of_kind(parse(f"name: x\nkind: {kind}\n", path="a.yaml"))
