"""Filters: each sets aside what it is for, with its reason, and lets good pairs pass."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.synthesis.filters import REASONS, Filters, apply_filters, detect_script, edit_distance
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal

FIRST = "The Rhine rises in the Alps and flows through six countries before it meets the North Sea."
GOOD = "The Rhine is a river of six countries; it rises in the Alps and ends in the North Sea near Rotterdam."


def pair(first: str = FIRST, second: str = GOOD, **changes: Any) -> Proposal:
    drafts = [Draft(text, "m", changes.pop(f"finish_{at}", "stop"), text) for at, text in enumerate((first, second))]
    return Proposal(PromptItem(0, "q", []), drafts[0], drafts[1], 0.0, **changes)


def reason(proposal: Proposal, **settings: Any) -> str | None:
    settled, _ = apply_filters(Filters(**settings), proposal)
    return settled.fault and settled.fault[0]


def test_a_good_pair_passes_all_filters_by_name() -> None:
    settled, passed = apply_filters(Filters(max_edit_distance=0.95), pair())
    assert settled.fault is None and passed == list(REASONS)


@pytest.mark.parametrize(
    ("filter", "second"),
    [
        ("empty", "  … "),
        ("refusal", "I'm sorry, but I cannot help with that request."),
        ("refusal", "I am unable to say anything about rivers."),
        ("refusal", "As an AI language model, I have no opinion on rivers."),
        ("leaked_plan", "Plan:\nsay less about the Alps\n\nThe Rhine flows north."),
        ("leaked_plan", "More detail.\n====\nThe Rhine flows through six countries."),
        ("label_leak", "A worse response is that the Rhine is a lake in the Alps of Europe."),
        ("label_leak", "(giving an unhelpful response) The Rhine is a lake in the Alps."),
        ("meta_talk", "Here is another response: the Rhine flows through six countries to the sea."),
        ("meta_talk", "Unlike the reference response, this says that the Rhine flows through countries."),
        ("meta_talk", "Response: The Rhine flows through six countries to the sea."),
        ("meta_talk", "[user]\nThe Rhine flows through six countries to the North Sea."),
        ("near_identical", FIRST),
        ("echo", FIRST + " It is long, and many ships go up and down on it all year round."),
        ("unrelated", "Bananas grow on very large herbs that people in warm places like to plant."),
        ("length_ratio", "The Rhine."),
        ("language", "Рейн берёт начало в Альпах и течёт через шесть стран до Северного моря."),
    ],
)  # fmt: skip
def test_each_fault_ends_with_its_own_reason(filter: str, second: str) -> None:
    settled, passed = apply_filters(Filters(max_edit_distance=0.95), pair(second=second))
    assert settled.fault is not None and settled.fault[0] == REASONS[filter]
    assert settled.fault[1]
    assert passed == list(REASONS)[: list(REASONS).index(filter)]


@pytest.mark.parametrize(
    ("settings", "second"),
    [
        ({"refusals": False}, "I'm sorry, but I cannot help with a question on the Rhine, a river of six countries."),
        ({"meta_talk": False}, "Here is another response: the Rhine flows through six countries to the North Sea."),
        ({"echoes": False}, FIRST + " It is long and much used."),
        ({"max_length_ratio": 20}, "The Rhine river."),
        ({"language": "any"}, "Рейн берёт начало в Альпах и течёт через шесть стран до Северного моря."),
    ],
)
def test_a_filter_that_is_turned_off_sets_nothing_aside(settings: dict[str, Any], second: str) -> None:
    assert reason(pair(second=second)) is not None
    assert reason(pair(second=second), **settings) is None


def test_another_language_in_the_same_script_is_found_on_request() -> None:
    french = "Le Rhin prend sa source dans les Alpes et traverse six pays avant de rejoindre la mer du Nord."
    assert reason(pair(second=french)) is None
    assert reason(pair(second=french), language="detect") == REASONS["language"]
    assert reason(pair(), language="detect") is None


def test_cut_completions_and_patterns_of_ones_own() -> None:
    assert reason(pair(finish_1="length")) is None
    assert reason(pair(finish_1="length"), cut=True) == REASONS["cut"]
    assert reason(pair(), patterns=("rotterdam",)) == REASONS["pattern"]


def test_the_first_reason_stays() -> None:
    assert reason(pair(second="").reject("another", "x")) == "another"
    faulty = Proposal(PromptItem(0, "q", []), Draft(fault=("none came", "x")), Draft())
    assert reason(faulty) == "none came"


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)


def by_hand(one: list[str], other: list[str]) -> int:
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        above, row = row, [i]
        for j, right in enumerate(other, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (left != right)))
    return row[-1]


@given(WORDS, WORDS)
def test_the_edit_distance_is_that_of_words_as_a_share_of_the_longer(one: str, other: str) -> None:
    longest = max(len(one.split()), len(other.split()))
    assert edit_distance(one, other) == pytest.approx(by_hand(one.split(), other.split()) / max(longest, 1))


@pytest.mark.parametrize(
    ("text", "script"), [("abc", "Latin"), ("где", "Cyrillic"), ("水の流れ水水", "Han"), ("12 !?", None)]
)
def test_the_script_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert detect_script(text) == script
