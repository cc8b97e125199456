"""Rubrics: those that come along, your own, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import SettingsError
from prefboost.scoring.rubric import RUBRICS, load_rubric


@pytest.mark.parametrize(
    ("name", "bounds", "keys"),
    [
        ("overall", (1, 10), ["rating"]),
        ("additive", (0, 5), ["rating"]),
        ("ultrafeedback", (1, 5), ["instruction_following", "honesty", "truthfulness", "helpfulness"]),
    ],
)
def test_shipped_rubrics_have_the_published_ranges_and_aspects(
    name: str, bounds: tuple[int, int], keys: list[str]
) -> None:
    rubric = load_rubric(name)
    assert (rubric.low, rubric.high) == bounds and rubric.keys == keys
    assert all(meaning in rubric.text(1) for meaning in rubric.aspects.values())
    assert "completions" in rubric.text(4) and rubric.text(1) != rubric.text(4)


def test_every_shipped_rubric_is_listed() -> None:
    folder = Path(load_rubric.__code__.co_filename).with_name("rubrics")
    assert {path.stem for path in folder.iterdir()} == set(RUBRICS)


def test_the_identity_follows_the_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text('{% set low, high = 1, 3 %}{% set aspects = {"wit": "Is it funny?"} %}Rate {{ aspects.wit }}')
    rubric = load_rubric(str(path))
    assert rubric.keys == ["wit"] and rubric.text(1) == "Rate Is it funny?"
    path.write_text(path.read_text() + "!")
    changed = load_rubric(str(path))
    assert changed.identity != rubric.identity and changed.identity.startswith("mine/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Rate it.", "low = None"),
        ("{% set low, high = 5, 1 %}", "low = 5, high = 1"),
        ("{% set low, high = 0, 100 %}", "at most 26"),
        ("{% set low, high = 1, 5 %}{% set aspects = ['wit'] %}", "aspects are a mapping"),
        ('{% set low, high = 1, 5 %}{% set aspects = {"Two words": ""} %}', "Two words"),
        ('{% set low, high = 1, 5 %}{% set aspects = {"reason": ""} %}', "reason are taken"),
        ("{% set low, high = 1, 5 %}{% if %}", "template of the rubric fails"),
        ("{% set low, high = 1, 5 %}{{ completion }}", "'completion' is undefined"),
        ("{% set low, high = 1, 5 %}{% include 'x' %}", "template of the rubric fails"),
        ("{% set low, high = 1, 5 %}{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% set low, high = 1, 5 %}{{ range(10**9) }}", "template of the rubric fails"),
        ("{% set low, high = 1, 5 %}{{ 1 / 0 }}", "template of the rubric fails"),
    ],
)
def test_unusable_templates_are_refused_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.jinja"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_rubric(str(path))
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named_with_the_rubrics_that_are() -> None:
    with pytest.raises(SettingsError, match="overall, ultrafeedback, additive"):
        load_rubric("nowhere.jinja")
