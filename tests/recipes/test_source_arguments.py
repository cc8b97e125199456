"""A source named on the command line."""

from __future__ import annotations

import pytest

from prefboost.errors import SettingsError
from prefboost.recipes.source_arguments import read_columns, read_source
from prefboost.sources import Columns, File, UltraFeedback


def test_a_path_alone_stays_a_path_and_other_overrides_are_left_to_others() -> None:
    assert read_source("a.jsonl", ["pair=adjacent"]) == ("a.jsonl", ["pair=adjacent"])


def test_a_kind_and_its_settings_are_those_of_a_recipe() -> None:
    found, others = read_source("a.jsonl", ["data=ultrafeedback", "data.fix_overall=one", "seed=3"])
    assert found == UltraFeedback(path="a.jsonl", fix_overall="one")
    assert others == ["seed=3"]
    assert read_source("a.jsonl", ["data.score=mean"])[0] == File(path="a.jsonl", score="mean")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("data.scor=mean", "did you mean score"),
        ("data=ultrafedback", "did you mean ultrafeedback"),
        ("data=3", "found"),
    ],
)
def test_a_wrong_setting_of_a_source_is_named_with_its_override(wrong: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_source("a.jsonl", [wrong])
    assert f"override '{wrong}'" in str(caught.value)


def test_columns_are_named_or_refused() -> None:
    assert read_columns(["columns.score=stars", "columns.aspects=[a]"]) == Columns(score="stars", aspects=("a",))
    with pytest.raises(SettingsError, match="did you mean score"):
        read_columns(["columns.scores=stars"])
