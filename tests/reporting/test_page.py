from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup, escape

from prefboost.reporting.page import read_asset, render_page

HOSTILE = "</td><script>alert(1)</script>{{ 7 * 7 }}"


def test_a_text_cannot_break_a_page() -> None:
    part = {"title": HOSTILE, "lead": [HOSTILE], "alarms": [HOSTILE], "sections": []}
    page = render_page("evaluation.html", {"parts": [part], "version": HOSTILE})
    assert "<script" not in page
    assert page.count(str(escape(HOSTILE))) == 5
    assert "49" not in page.partition("<body>")[2]


def test_a_missing_value_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        render_page("evaluation.html", {"version": "0"})


@pytest.mark.parametrize("name", ["page.css", "page.js", "vega.min.js", "vega-lite.min.js"])
def test_what_is_inlined_ends_no_element_early_and_names_no_file_beside_it(name: str) -> None:
    text = read_asset(name)
    assert isinstance(text, Markup) and len(text) > 1_000
    assert not any(mark in text for mark in ("</script", "</style", "<!--", "sourceMappingURL", "@import"))
