from __future__ import annotations

import pytest
from jinja2 import UndefinedError
from markupsafe import escape

from prefboost.reporting.page import render_page

HOSTILE = "</td><script>alert(1)</script>{{ 7 * 7 }}"


def values(text: str) -> dict[str, object]:
    line = {"goal": "10", "ra": text, "dpo": text, "ra_score": "1", "dpo_score": "1"}
    return {
        "model": text, "pairs": 1, "steps": 1, "held_out": 1, "samples_per_prompt": 1, "version": "0", "machine": text,
        "verdict": [text], "follows": True, "reduced": text,
        "checks": [text], "tops": [], "seeds": text, "rows": [], "unlearning_caption": text,
        "samples": [{"prompt": text, "lines": [line]}], "method": text, "settings": [(text, text)], "cost": text,
    }  # fmt: skip


def test_a_completion_cannot_break_the_page() -> None:
    page = render_page(
        "demo.html", values(HOSTILE), figures=dict.fromkeys(("goal_response", "frontier", "unlearning"), "<svg/>")
    )
    assert "<script" not in page
    assert str(escape(HOSTILE)) in page
    assert "49" not in page
    assert "<svg/>" in page


def test_a_missing_value_is_an_error_and_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        render_page("demo.html", {}, figures={})
