"""Labels of a judge: shares over both orders, votes as well as log-probs, faults with reasons."""

from __future__ import annotations

import math
from typing import Any

import pytest
from made_writer import LengthScorer, Writer

from prefboost.engines.budget import Budget, Spending
from prefboost.engines.call_session import CallSession
from prefboost.engines.engine import Failure, Outcome, Result, Sampling
from prefboost.scoring.judges.from_scorer import ScorerJudge
from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.labels import (
    NO_ANSWER,
    Share,
    add_criteria,
    build_sides_table,
    judge_both_orders,
    judge_pairs,
)
from prefboost.synthesis.proposal import BUDGET_SPENT

PROMPT = [{"role": "user", "content": "Hi", "extra": None}]
SIDES = build_sides_table([(PROMPT, "apple", "pear"), (PROMPT, "pear", "apple")])


def judge_shares(judge: Any, sides: Any, calls: Any) -> list[Any]:
    """Judge the share of every chosen completion, averaged over both orders."""
    return [judgement.share for judgement in judge_pairs(judge, sides, calls)]


def verdict(prompt: str, sample: int) -> str:
    apple_first = prompt.index("apple") < prompt.index("pear")
    return f'{{"reason": "fruit", "verdict": "{1 if apple_first else 2}"}}'


def test_votes_in_words_are_shares_too() -> None:
    judge = LlmJudge(engine=Writer.by(verdict))
    assert judge_shares(judge, SIDES, Calls()) == [1.0, 0.0]


def test_several_samples_are_averaged() -> None:
    def wavering(prompt: str, sample: int) -> str:
        return verdict(prompt, sample) if sample else '{"reason": "x", "verdict": "tie"}'

    judge = LlmJudge(engine=Writer.by(wavering), samples=2, sampling=Sampling(temperature=1.0))
    assert judge_shares(judge, SIDES, Calls()) == [0.75, 0.25]


def test_a_tie_read_off_log_probs_counts_half() -> None:
    judge = LlmJudge(
        engine=Writer.by(weigh=lambda p, c: [math.log(0.5), math.log(0.1), math.log(0.4)]), read="logprobs"
    )
    assert judge_shares(judge, SIDES, Calls()) == pytest.approx([0.5, 0.5])


def test_what_cannot_be_read_is_a_reason_of_its_pair_alone() -> None:
    judge = LlmJudge(engine=Writer.by(lambda p, s: "no idea" if p.index("apple") < p.index("pear") else verdict(p, s)))
    found = judge_shares(judge, SIDES, Calls())
    assert all(isinstance(share, tuple) and share[0].startswith("the judge: ") for share in found)


def test_what_the_budget_does_not_allow_is_not_asked() -> None:
    judge = LlmJudge(engine=Writer.by(), read="logprobs")
    calls = Calls(CallSession(spending=Spending(budget=Budget(requests=1))))
    assert judge_shares(judge, SIDES, calls) == [(BUDGET_SPENT, "")] * 2
    assert calls.exhausted


def test_any_other_judge_is_asked_by_itself() -> None:
    table = build_sides_table(
        [(PROMPT, "a far longer text than that", "short"), (PROMPT, "short", "a far longer text than that")]
    )
    judge = ScorerJudge(scorer=LengthScorer())
    assert judge_shares(judge, table, Calls()) == [1.0, 0.0]


def test_both_orders_can_be_told_apart() -> None:
    found = judge_both_orders(LlmJudge(engine=Writer.by(), read="logprobs", ties=False), SIDES, Calls())
    assert found == [(pytest.approx(0.8, abs=0.01), pytest.approx(0.2, abs=0.01))] * 2


def test_no_pairs_need_no_judge() -> None:
    assert judge_shares(LlmJudge(engine=Writer.by()), build_sides_table([]), Calls()) == []


def test_criteria_name_the_aspects() -> None:
    told = add_criteria(LlmJudge(engine=Writer.by()), Aspects(task="qa"), "criteria")
    assert "factuality" in told.criteria  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("outcome", "share"),
    [
        (None, (BUDGET_SPENT, "")),
        (Failure("refused", 1), (NO_ANSWER, "refused")),
        (Result("half an ans", "length", 1, 1), ("the judge's answer was cut at max_tokens", "half an ans")),
        (Result("", "stop", 1, 1, reasoning="Hm, both."), ("the judge: the answer is thoughts alone", "Hm, both.")),
        (Result("no idea", "stop", 1, 1), ("the judge: the answer holds no verdict", "no idea")),
    ],
)
def test_a_pair_without_a_readable_answer_has_the_reason_of_its_first(
    outcome: Outcome | None, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Calls, "completions", lambda *_: [outcome] * 4)
    judge = LlmJudge(engine=Writer.by(), samples=2, sampling=Sampling(temperature=1.0))
    assert judge_shares(judge, build_sides_table([(PROMPT, "apple", "pear")]), Calls()) == [share]
