"""Rules of prefboost.scoring.rules.formats; texts that hold and do not stand in test_kinds.py."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.rules.formats import JSON, Lowercase, NumberedList, Quoted, Uppercase


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_whatever_is_dumped_is_json_fenced_or_not(value: object) -> None:
    assert JSON().holds(json.dumps(value))
    assert JSON().holds(f"```json\n{json.dumps(value)}\n```")


@given(st.text(st.characters(categories=["Lu", "Ll"], max_codepoint=127), min_size=1))
def test_case_rules_hold_for_their_own_case(text: str) -> None:
    assert Lowercase().holds(text.lower())
    assert Uppercase().holds(text.upper())


@given(st.text())
def test_quotes_around_any_text_hold(text: str) -> None:
    assert Quoted().holds(f'"{text}"')


@given(st.integers(1, 12), st.integers(1, 12))
def test_a_numbered_list_is_counted_exactly(n: int, wanted: int) -> None:
    assert NumberedList(count=wanted).holds("\n".join(f"{i + 1}. item" for i in range(n))) == (n == wanted)
