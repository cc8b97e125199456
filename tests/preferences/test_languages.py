"""Languages of texts."""

from __future__ import annotations

import polars as pl
import pytest

from prefboost.errors import SettingsError
from prefboost.preferences.languages import check_languages, detect_language, detect_languages

pytest.importorskip("py3langid", reason="the extra synthesis is not installed")

TEXTS = {
    "en": "Could you tell me what the weather will be like tomorrow?",
    "de": "Kannst du mir sagen, wie das Wetter morgen sein wird?",
    "fr": "Peux-tu me dire quel temps il fera demain matin ?",
    "zh": "你能告诉我明天的天气怎么样吗？谢谢你的帮助",
}


@pytest.mark.parametrize(("language", "text"), TEXTS.items())
def test_languages_are_told_from_sentences(language: str, text: str) -> None:
    assert detect_language(text) == language


def test_a_text_of_few_words_is_in_no_language() -> None:
    texts = pl.Series([TEXTS["de"], "Hi", None, TEXTS["zh"]])
    assert detect_languages(texts).to_list() == ["de", None, None, "zh"]


def test_a_code_that_is_never_told_is_refused() -> None:
    check_languages(["en", "de"])
    with pytest.raises(SettingsError, match="'english' is not a language") as caught:
        check_languages(["english"])
    assert " en," in str(caught.value)
