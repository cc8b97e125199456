"""A rehearsal runs the same code and asks nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from made_writer import LengthScorer, Writer

from prefboost.engines.budget import Price
from prefboost.engines.engine import Sampling
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.edits import Clair, RMBoost
from prefboost.synthesis.method import Method
from prefboost.synthesis.proposal import PromptItem
from prefboost.synthesis.rehearsal import CallRehearsal
from prefboost.synthesis.rlaif import RLAIF
from prefboost.synthesis.rlcd import RLCD
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs
from prefboost.synthesis.west_of_n import WestOfN

SAMPLING = Sampling(max_tokens=12)


def methods() -> dict[str, tuple[Method, list[Writer]]]:
    writer, judge, other = Writer.by(), Writer.by(model="judge"), Writer.by(model="other")
    by = LlmJudge(engine=judge, read="logprobs")
    return {
        "rmboost": (RMBoost(generator=writer, label="both", sampling=SAMPLING), [writer]),
        "clair": (Clair(generator=writer, editor=other, sampling=SAMPLING), [writer, other]),
        "rlaif": (RLAIF(generator=writer, judge=by, sampling=SAMPLING), [writer, judge]),
        "rlcd": (RLCD(generator=writer, rescore=by, sampling=SAMPLING), [writer, judge]),
        "west_of_n": (WestOfN(generator=writer, scorer=LengthScorer(), n=3, sampling=SAMPLING), [writer]),
        "ultrafeedback": (
            UltraFeedbackPairs(pool=(writer, other), scorer=LengthScorer(), n=2, sampling=SAMPLING), [writer, other]
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", methods())
def test_it_counts_exactly_the_calls_that_are_made(name: str, items: Callable[[int], list[PromptItem]]) -> None:
    method, models = methods()[name]
    rehearsal = CallRehearsal()
    method.propose(items(5), rehearsal)
    assert sum(len(model.asked) for model in models) == 0
    counted = sum(count.calls for count in rehearsal.counts.values())
    method.propose(items(5), Calls())
    assert counted == sum(len(model.asked) for model in models) > 0


def test_it_counts_tokens_and_dollars_at_most(items: Callable[[int], list[PromptItem]]) -> None:
    rehearsal = CallRehearsal({"writer": Price(prompt=0, completion=1e6)})
    calls = Calls()
    method, _ = methods()["rmboost"]
    method.propose(items(3), rehearsal)
    method.propose(items(3), calls)
    counts = rehearsal.counts
    assert counts["completions"].most_tokens == 3 * 12 and counts["edits"].most_dollars == 6 * 12
    assert sum(count.prompt_tokens for count in counts.values()) >= calls.session.book.total().prompt_tokens
