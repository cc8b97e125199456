"""The reviewer's pass: what it finds is rejected with its reason, and it is asked about nothing in vain."""

from __future__ import annotations

from typing import Any

from made_writer import Writer

from prefboost.synthesis.calls import Calls
from prefboost.synthesis.filters import Filters
from prefboost.synthesis.proposal import Draft, PromptItem, Proposal
from prefboost.synthesis.rehearsal import CallRehearsal
from prefboost.synthesis.review import NO_REVIEW, TALKS, review_proposals

FIRST = "The Rhine rises in the Alps and flows through six countries before it meets the North Sea."
SECONDS = [
    "The Rhine is a long river of six countries; it rises in the Alps and ends in the North Sea.",
    "The Rhine rises in the Alps; a sly hint that this text was spoilt, and it ends in the North Sea.",
    "The Rhine rises somewhere in the Alps and is, hm, hard to say, some river that ends in the North Sea.",
    FIRST,
]


def says(prompt: str, sample: int) -> str:
    return "Yes." if "spoilt" in prompt else "It depends" if "hard to say" in prompt else "no"


def proposals(**more: Any) -> list[Proposal]:
    first = Draft(FIRST, "m", "stop", FIRST)
    return [
        Proposal(PromptItem(at, f"q{at}", []), first, Draft(text, "m", "stop", text), 0.0, **more)
        for at, text in enumerate(SECONDS)
    ]


def test_what_the_reviewer_finds_is_rejected_and_what_filters_reject_is_not_asked() -> None:
    writer = Writer.by(says)
    found = review_proposals(Filters(reviewer=writer), proposals(lineage={"direction": "worse"}), Calls())
    assert [each.fault and each.fault[0] for each in found] == [None, TALKS, NO_REVIEW, None]
    assert len(writer.asked) == 3, "equal texts are rejected by a filter, and firsts of edits are not asked about"
    assert SECONDS[0] in writer.prompts[0] and "Answer with yes or no" in writer.prompts[0]


def test_both_sides_are_asked_about_where_both_saw_a_request() -> None:
    writer = Writer.by(says)
    review_proposals(Filters(reviewer=writer), proposals()[:1], Calls())
    assert len(writer.asked) == 2


def test_without_a_reviewer_nothing_is_asked_and_a_rehearsal_counts_the_most_there_can_be() -> None:
    assert review_proposals(Filters(), proposals(), Calls()) == proposals()
    rehearsal = CallRehearsal()
    review_proposals(
        Filters(reviewer=Writer.by(says)), proposals(lineage={"direction": "worse"}), rehearsal, rehearsal=True
    )
    assert rehearsal.counts["review"].calls == 4
