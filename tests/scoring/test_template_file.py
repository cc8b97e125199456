"""A Jinja file of the user's is read, and what it cannot do is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from prefboost.errors import SettingsError
from prefboost.scoring.template_file import TemplateFile, load_template


def load(folder: Path, text: str) -> TemplateFile:
    (folder / "own.jinja").write_text(text, encoding="utf-8")
    return load_template(str(folder / "own.jinja"), ("shipped",), folder, "the rubric")


def test_the_identity_follows_the_text_and_not_the_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, moved, changed = load(tmp_path, "a"), load(tmp_path / "other", "a"), load(tmp_path, "b")
    assert first.identity == moved.identity != changed.identity
    assert first.identity.startswith("own/")


def test_a_shipped_file_is_found_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "shipped.jinja").write_text("{{ word }}", encoding="utf-8")
    template = load_template("shipped", ("shipped",), tmp_path, "the rubric")
    assert template.run(lambda jinja: jinja.render(word="so"), "word") == "so"


def test_a_file_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the rubric cannot be read") as caught:
        load_template("nowhere", ("shipped",), tmp_path, "the rubric")
    assert "shipped" in str(caught.value.remedy)


@pytest.mark.parametrize("text", ["{% if %}", "{{ absent }}", "{% include 'x' %}", "{{ 1 / 0 }}"])
def test_a_template_that_fails_says_what_it_sees(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError, match="the template of the rubric fails") as caught:
        load(tmp_path, "{# a comment #}" + text).run(lambda jinja: jinja.render(), "nothing")
    assert "can include no other file" in str(caught.value.remedy)
