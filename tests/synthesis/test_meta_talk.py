"""Talk of completions about themselves: precision and recall on labelled cases, and no text that takes long."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from filter_cases import (
    BODY,
    HELD_HONEST,
    HELD_LEAKS,
    HONEST,
    HONEST_TO,
    LEAKS,
    STRANGE_HELD_HONEST,
    STRANGE_HELD_LEAKS,
    STRANGE_HONEST,
    STRANGE_LEAKS,
)
from hypothesis import given
from hypothesis import strategies as st

from prefboost.synthesis.filters import Filters, apply_filters
from prefboost.synthesis.meta_talk import find_leak
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal

KINDS = ("refusal", "leaked_plan", "label_leak", "meta_talk")


def leaks(text: str, prompt: str = "") -> bool:
    return any(True for kind in KINDS for _ in find_leak(kind, text, prompt))  # type: ignore[arg-type]


def measured(name: str, bad: Sequence[str], good: Sequence[tuple[str, str]]) -> tuple[float, float]:
    """Precision and recall, printed."""
    hits, false = sum(map(leaks, bad)), sum(leaks(text, prompt) for prompt, text in good)
    precision, recall = hits / (hits + false), hits / len(bad)
    print(f"{name}: {len(bad) + len(good)} cases, precision {precision:.3f}, recall {recall:.3f}")
    return precision, recall


def test_leaks_are_found_and_honest_texts_kept(capsys: pytest.CaptureFixture[str]) -> None:
    plain = [("", text) for text in HONEST]
    assert len(LEAKS) + len(plain) + len(HONEST_TO) + len(HELD_LEAKS) + len(HELD_HONEST) >= 200
    with capsys.disabled():
        precision, recall = measured("filters", LEAKS, [*plain, *HONEST_TO])
        held = measured("filters, held out", HELD_LEAKS, [("", text) for text in HELD_HONEST])
        strange = measured("filters, other words and languages", STRANGE_LEAKS, [("", text) for text in STRANGE_HONEST])
        strange_held = measured(
            "filters, the same held out", STRANGE_HELD_LEAKS, [("", text) for text in STRANGE_HELD_HONEST]
        )
    assert precision >= 0.98 and recall >= 0.98
    assert min(strange) >= 0.95
    assert min(*held, *strange_held) >= 0.85


@pytest.mark.parametrize("text", [
    "# Plan\n\n1. Book the hall.\n2. Print the programme.",
    "Trip to Rome\n=======\n\nDay one is for the Forum.",
    "The phone is an improved version of the old one.",
])  # fmt: skip
def test_honest_pairs_with_words_of_a_leak_are_kept(text: str) -> None:
    sides = [Draft(each, "m", "stop", each) for each in (BODY, text)]
    kept, _ = apply_filters(Filters(max_length_ratio=9.0), Proposal(PromptItem(0, "q", []), *sides))
    assert kept.fault is None


def test_the_first_completion_of_an_edit_leaks_nothing_and_what_it_says_is_the_topic() -> None:
    said = "Here is a better response: water it less."
    first, second = Draft(said, "m", "stop", said), Draft(BODY, "m", "stop", BODY)
    blind = Proposal(PromptItem(0, "q", []), first, second)
    edit = Proposal(PromptItem(0, "q", []), first, second, lineage={"direction": "worse"})
    leaking = Proposal(PromptItem(0, "q", []), second, first, lineage={"direction": "worse"})
    assert apply_filters(Filters(), blind)[0].fault is not None
    assert apply_filters(Filters(), edit)[0].fault is None
    assert apply_filters(Filters(), leaking)[0].fault is not None


@given(st.text(max_size=300), st.text(max_size=100))
def test_any_text_is_looked_through_and_places_lie_in_it(text: str, prompt: str) -> None:
    for kind in KINDS:
        for leak in find_leak(kind, text, prompt):  # type: ignore[arg-type]
            assert 0 <= leak.start <= leak.end <= len(text)


@pytest.mark.parametrize("text", [
    " " * 20_000, "\n" * 20_000, "====\n" * 2_000, "this answer " * 2_000, "Plan:\n" + "make it " * 3_000, "(" * 20_000,
    "回答" * 10_000, "antwort bewusst " * 1_500, "Human:" + "\n" * 20_000, "not the chosen " * 1_500,
], ids=["blanks", "lines", "rules", "this", "plan", "brackets", "han", "german", "turns", "sides"])  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    began = time.process_time()
    leaks(text)
    assert time.process_time() - began < 10
