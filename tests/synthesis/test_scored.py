"""Drafts to scorers and back."""

from __future__ import annotations

import re
from collections.abc import Callable

from length_scorer import LengthScorer as Limited
from made_writer import LengthScorer, Writer

from prefboost.scoring.rater import Rater
from prefboost.scoring.rules.scorer import RulesScorer
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.proposal import Draft, PromptItem
from prefboost.synthesis.scored import build_completions_table, name_scorer, read_score_faults, read_scores
from prefboost.synthesis.ultrafeedback import UltraFeedbackPairs
from prefboost.synthesis.west_of_n import WestOfN


def test_scores_come_back_to_their_prompt_and_number(items: Callable[[int], list[PromptItem]]) -> None:
    drafts = [[Draft("one"), Draft(fault=("x", "")), Draft("one two")], [Draft("a b c"), Draft("")]]
    table = build_completions_table(items(2), drafts)
    assert len(table) == 3
    assert read_scores(LengthScorer().score(table)) == {("q0", 0): {"": 1}, ("q0", 2): {"": 2}, ("q1", 0): {"": 3}}


def test_no_drafts_are_an_empty_table(items: Callable[[int], list[PromptItem]]) -> None:
    assert len(build_completions_table(items(1), [[]])) == 0


def test_lineages_name_the_model_that_scores_and_a_raters_rubric() -> None:
    assert name_scorer(LengthScorer()) == "length"
    rater = Rater(engine=Writer(model="big"), rubric="ultrafeedback")
    assert re.fullmatch(r"rater/big/ultrafeedback/[0-9a-f]{8,}", name_scorer(rater))
    assert name_scorer(RulesScorer()) == "rules"


def test_a_completion_without_a_score_keeps_the_scorers_reason(items: Callable[[int], list[PromptItem]]) -> None:
    table = build_completions_table(items(2), [[Draft("one"), Draft("a b c d")], [Draft("two"), Draft("x")]])
    scored = Limited(limit=5).score(table)
    reason = "no score: the conversation is longer than the model can see"
    assert read_score_faults(scored) == {("q0", 1): (reason, "7")}
    writer, scorer = Writer.by(lambda p, s: "one" if s else "a b c d"), Limited(limit=5)
    for method in (
        WestOfN(generator=writer, scorer=scorer, n=2),
        UltraFeedbackPairs(pool=(writer, writer), scorer=scorer, n=2),
    ):
        assert [each.why_not for each in method.propose(items(2), Calls())] == [(reason, "7")] * 2
