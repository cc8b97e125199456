"""Foreign text is shown as it is, but for characters that would hide or turn it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.reporting.texts import cut_text, flatten_prose, flatten_text, replace_controls


def test_control_characters_are_visible_and_lines_stay() -> None:
    assert replace_controls("a\x1b[31m\u202eb\nc\td") == "a\ufffd[31m\ufffdb\nc\td"
    assert flatten_text("a\x1b[31m\u202eb\nc\td") == "a\ufffd[31m\ufffdb c d"


@given(st.text(), st.integers(0, 40))
def test_cut_text_keeps_the_beginning_and_counts_the_rest(text: str, most: int) -> None:
    shown = cut_text(text, most)
    assert shown.startswith(text[:most])
    assert (shown == text) == (len(text) <= most)


@pytest.mark.parametrize(
    ("text", "shown"), [("95 %, so", "95\u00a0%, so"), ("a\n5 %", "a 5\u00a0%"), ("what % is", "what % is")]
)
def test_a_number_stays_beside_its_percent_sign(text: str, shown: str) -> None:
    assert flatten_prose(text) == shown
