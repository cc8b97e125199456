"""RLCD: one phrase makes the difference, and earlier assistant turns get the opposite one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from made_writer import Writer

from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.proposal import PromptItem
from prefboost.synthesis.rlcd import PHRASES, RLCD

Items = Callable[[int], list[PromptItem]]


def steered(prompt: str, sample: int) -> str:
    return "a bad turn" if prompt.endswith("unhelpful response):") else "a good turn"


def test_the_completion_under_the_better_phrase_is_preferred(items: Items) -> None:
    made = RLCD(generator=Writer.by(steered)).propose(items(2), Calls())
    assert [(each.first.text, each.second.text, each.first_wins) for each in made] == [
        ("a good turn", "a bad turn", 1.0)
    ] * 2
    assert made[0].lineage["phrases"] == ["giving a helpful response", "giving an unhelpful response"]


def test_prompts_differ_in_phrases_alone_and_earlier_turns_are_opposite(conversation: PromptItem) -> None:
    writer = Writer.by(steered)
    RLCD(generator=writer).propose([conversation], Calls())
    better, worse = writer.prompts
    assert "Assistant (giving an unhelpful response): Hi!" in better
    assert better.endswith("Assistant (giving a helpful response):")
    swapped = better.replace("an unhelpful", "#").replace("a helpful", "an unhelpful").replace("#", "a helpful")
    assert worse == swapped


def test_sixteen_phrases_for_harmlessness_are_all_drawn(items: Items) -> None:
    made = RLCD(generator=Writer.by(), phrases="harmless").propose(items(400), Calls())
    assert {tuple(each.lineage["phrases"]) for each in made} == set(PHRASES["harmless"])
    assert len(PHRASES["harmless"]) == 16


def test_phrases_of_ones_own(items: Items) -> None:
    made = RLCD(generator=Writer.by(), own_phrases=(("in verse", "in prose"),)).propose(items(1), Calls())
    assert made[0].lineage["phrases"] == ["in verse", "in prose"]


def test_rescoring_judges_the_same_completions(items: Items) -> None:
    def likes_bad(prompt: str, choices: Sequence[str]) -> list[float]:
        p = 0.9 if prompt.index("a bad turn") < prompt.index("a good turn") else 0.1
        return [math.log(p), math.log(1 - p)]

    judge = LlmJudge(engine=Writer.by(weigh=likes_bad, model="judge"), read="logprobs", ties=False)
    made = RLCD(generator=Writer.by(steered), rescore=judge).propose(items(2), Calls())
    assert [round(each.first_wins or 0, 6) for each in made] == [0.1, 0.1]
    assert made[0].first.text == "a good turn" and made[0].lineage["judge"] == "llm/judge"
