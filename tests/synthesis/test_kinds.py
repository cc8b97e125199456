"""The six methods, by name."""

from __future__ import annotations

import pytest

from prefboost.settings import Settings
from prefboost.synthesis.kinds import METHODS


def test_six_methods_are_there() -> None:
    assert list(METHODS) == ["rmboost", "rlaif", "rlcd", "west_of_n", "clair", "ultrafeedback"]


@pytest.mark.parametrize("kind", METHODS)
def test_every_setting_says_what_it_is(kind: str) -> None:
    cls: type[Settings] = METHODS[kind]
    assert cls.model_fields["kind"].default == kind
    assert all(field.description for field in cls.model_fields.values())
    assert callable(cls.propose) and callable(cls.decide)  # type: ignore[attr-defined]
