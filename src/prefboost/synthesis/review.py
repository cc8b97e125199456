"""Ask a model whether completions talk about themselves: the optional pass behind the patterns of the filters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefboost.engines.engine import Request, Result, Sampling
from prefboost.scoring.fencing import NOTICE, fence, mark_of
from prefboost.synthesis.calls import ModelCalls
from prefboost.synthesis.filters import Filters, apply_filters
from prefboost.synthesis.proposal import BUDGET_SPENT, Proposal

__all__ = ["review_proposals"]

TALKS = "a reviewer says that a completion talks about itself or the request for it"
NO_REVIEW = "the reviewer gave no answer that can be read"

_QUESTION = (
    "The text between the lines below was written to answer a user. Does any part of it talk about the text itself: "
    "that it is better or worse than another text, was edited or kept vague, lacks something by intention, follows a "
    "plan of edits, or was written at a request about its quality? Talk about other texts, versions, plans or answers "
    "that the user asked about does not count."
)
_ENDING = "Answer with yes or no and nothing else."
_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=512)


def review_proposals(
    filters: Filters, proposals: Sequence[Proposal], calls: ModelCalls, *, rehearsal: bool = False
) -> list[Proposal]:
    """Reject the proposals in which the filters' reviewer finds that a completion talks about itself.

    Args:
        filters: without a reviewer nothing is asked.
        proposals: those with a fault, or that a filter rejects anyway, are not reviewed.
        calls: asks.
        rehearsal: count a question for every proposal without a fault, whatever the filters say of its made-up text.
    """
    if filters.reviewer is None:
        return list(proposals)
    questions = [
        (at, side, draft.text)
        for at, each in enumerate(proposals)
        if not each.why_not and (rehearsal or apply_filters(filters, each)[0].fault is None)
        for side, draft in (("first", each.first), ("second", each.second))
        # The first completion of an edit was written without the request, so it cannot talk about it.
        if side == "second" or "direction" not in each.lineage
    ]
    outcomes = calls.completions(
        "review", filters.reviewer, [_build_request(text) for _, _, text in questions], _SAMPLING
    )
    settled = list(proposals)
    for (at, side, text), outcome in zip(questions, outcomes, strict=True):
        if outcome is None:
            settled[at] = settled[at].reject(BUDGET_SPENT, "")
            continue
        reply = outcome.text if isinstance(outcome, Result) else outcome.reason
        answer = re.match(r"\W*(yes|no)\b", reply, re.IGNORECASE) if isinstance(outcome, Result) else None
        if answer is None:
            settled[at] = settled[at].reject(NO_REVIEW, reply)
        elif answer[1].lower() == "yes":
            settled[at] = settled[at].reject(TALKS, f"{side}: {text}")
    return settled


def _build_request(text: str) -> Request:
    mark = mark_of([text])
    parts = [_QUESTION, NOTICE.format(mark=mark), fence(text, "text", mark), _ENDING]
    return Request([{"role": "user", "content": "\n\n".join(parts), "extra": None}])
