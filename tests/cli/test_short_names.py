"""Settings that stand alone on the command line."""

import pytest

from prefboost.cli.short_names import name_of, placed, unknown
from prefboost.errors import SettingsError

HOMES = {"loss": "train.", "pair": ""}


@pytest.mark.parametrize("text", ["loss.beta=0.1", "loss = {kind: dpo}", "loss=a=b", "loss"])
def test_the_name_is_what_stands_first(text: str) -> None:
    assert name_of(text) == "loss"


def test_every_key_gets_the_branch_that_it_belongs_to() -> None:
    assert placed(["loss.beta=0.1", "pair=all_pairs"], HOMES) == ["train.loss.beta=0.1", "pair=all_pairs"]


@pytest.mark.parametrize("text", ["los.beta=0.1", "loss.beta", "=1"])
def test_what_has_no_branch_is_refused_with_the_names_there_are(text: str) -> None:
    with pytest.raises(SettingsError, match=r"is not a setting here[\s\S]*settings here: loss, pair"):
        placed([text], HOMES)


def test_the_nearest_name_is_offered() -> None:
    assert "did you mean loss?" in str(unknown("los=1", HOMES))
    assert "did you mean" not in str(unknown("zzz=1", HOMES))
