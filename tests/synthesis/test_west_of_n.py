"""West-of-N: the best against the worst, and of those the surest and the likeliest."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from made_writer import LengthScorer, Writer

from prefboost.synthesis.calls import Calls
from prefboost.synthesis.proposal import PromptItem
from prefboost.synthesis.west_of_n import TOO_FEW, UNLIKELY, UNSURE, WestOfN

Items = Callable[[int], list[PromptItem]]


def growing(prompt: str, sample: int) -> str:
    """Sample k of question q has (q + 1) * ((k + 1) % 4 + 1) words: differences grow with the question."""
    question = int(prompt.removeprefix("Question ").removesuffix("?"))
    return " ".join(["word"] * ((question + 1) * ((sample + 1) % 4 + 1)))


def west(**changes: object) -> WestOfN:
    return WestOfN(generator=Writer.by(growing), scorer=LengthScorer(), **({"n": 4, "margin_quantile": 0.0} | changes))


def test_the_best_and_the_worst_of_n_make_the_pair(items: Items) -> None:
    made = west().propose(items(3), Calls())
    assert [(each.scores[0][""], each.scores[1][""]) for each in made] == [(4, 1), (8, 2), (12, 3)]
    assert [len(each.first.text.split()) for each in made] == [4, 8, 12]
    assert [each.first_wins for each in made] == [1.0] * 3


def test_p_is_the_sigmoid_of_the_margin_and_may_be_the_label(items: Items) -> None:
    made = west(soft=True, temperature=2.0).propose(items(2), Calls())
    assert [each.first_wins for each in made] == pytest.approx([1 / (1 + math.exp(-1.5)), 1 / (1 + math.exp(-3.0))])


def test_pairs_below_the_quantile_of_p_are_set_aside_over_all_prompts(items: Items) -> None:
    method = west(margin_quantile=0.5, temperature=10.0)
    some = items(8)
    proposals = method.propose(some[:3], Calls()) + method.propose(some[3:], Calls())
    decided = method.decide(proposals)
    assert [each.why_not and each.why_not[0] for each in decided] == [UNSURE] * 4 + [None] * 4


def test_unlikely_pairs_are_set_aside(items: Items) -> None:
    method = west(likelihood_quantile=0.5)
    decided = method.decide(method.propose(items(4), Calls()))
    values = [each.lineage["likelihood"] for each in decided]
    middle = sorted(values)[1:3]
    for each, value in zip(decided, values, strict=True):
        assert (each.why_not is not None) == (value < sum(middle) / 2)
        assert each.why_not is None or each.why_not[0] == UNLIKELY


def test_a_prompt_whose_completions_are_all_the_same_gives_no_pair(items: Items) -> None:
    method = WestOfN(generator=Writer.by(lambda p, s: "same"), scorer=LengthScorer(), n=3)
    assert [each.why_not and each.why_not[0] for each in method.decide(method.propose(items(2), Calls()))] == [
        TOO_FEW
    ] * 2


def test_equal_scores_are_no_preference(items: Items) -> None:
    method = WestOfN(generator=Writer.by(lambda p, s: f"word{s}"), scorer=LengthScorer(), n=3)
    assert method.propose(items(1), Calls())[0].why_not == ("the judge has no preference", "0")
