"""RLAIF: the label is the judge's probability over both orders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from made_writer import Writer, first_wins

from prefboost.scoring.judges.llm import LlmJudge
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.proposal import PromptItem
from prefboost.synthesis.rlaif import RLAIF, UNDECIDED, name_judge

Items = Callable[[int], list[PromptItem]]


def writing(prompt: str, sample: int) -> str:
    return f"{'good' if sample else 'bad'} words on {prompt}"


def likes_good(prompt: str, choices: Sequence[str]) -> list[float]:
    """P = 0.9 for whichever completion says good, with 0.05 for the first place."""
    first = prompt.index("good words") < prompt.index("bad words")
    p = 0.9 if first else 0.0
    return [math.log(p + 0.05), math.log(0.95 - p)]


def method(judge: Writer, **changes: object) -> RLAIF:
    how = LlmJudge(engine=judge, read="logprobs", ties=False)
    return RLAIF(generator=Writer.by(writing), judge=how, **changes)  # type: ignore[arg-type]


def test_the_label_is_the_mean_over_both_orders(items: Items) -> None:
    judge = Writer.by(weigh=likes_good, model="judge")
    made = method(judge).propose(items(3), Calls())
    assert [each.first_wins for each in made] == pytest.approx([(0.05 + 1 - 0.95) / 2] * 3)
    assert len(judge.asked) == 6
    assert made[0].lineage["judge"] == "llm/judge" and made[0].lineage["criteria"].startswith("criteria/")


def test_the_lineage_holds_the_mass_of_the_verdicts_and_none_where_words_were_read(items: Items) -> None:
    def weigh(prompt: str, choices: Sequence[str]) -> list[float]:
        return [weight - (0.7 if prompt.index("good words") < prompt.index("bad words") else 0.2)
                for weight in likes_good(prompt, choices)]  # fmt: skip

    made = method(Writer.by(weigh=weigh, model="judge")).propose(items(2), Calls())
    assert [each.lineage["label_mass"] for each in made] == pytest.approx([math.exp(-0.7)] * 2), "the lower of both"
    words = LlmJudge(engine=Writer.by(lambda prompt, sample: '{"verdict": "1"}'))
    told = RLAIF(generator=Writer.by(writing), judge=words).propose(items(1), Calls())
    assert "label_mass" not in told[0].lineage


def test_a_judge_that_goes_by_the_place_alone_labels_nothing(items: Items) -> None:
    made = method(Writer.by(weigh=first_wins, model="judge")).propose(items(3), Calls())
    assert {each.why_not and each.why_not[0] for each in made} == {UNDECIDED}


def test_a_margin_sets_unsure_pairs_aside(items: Items) -> None:
    made = method(Writer.by(weigh=likes_good, model="judge"), min_margin=0.48).propose(items(1), Calls())
    assert made[0].why_not == (UNDECIDED, "0.050")


def test_the_judge_is_told_the_aspects_unless_it_has_criteria(items: Items) -> None:
    judge = Writer.by(weigh=likes_good, model="judge")
    method(judge).propose(items(1), Calls())
    assert "- helpfulness: it does what was asked" in judge.prompts[0]
    own = LlmJudge(engine=judge, read="logprobs", ties=False, criteria="Shorter is better.")
    RLAIF(generator=Writer.by(writing), judge=own).propose(items(1), Calls())
    assert judge.prompts[-1].startswith("Shorter is better.")


def test_equal_completions_are_not_judged(items: Items) -> None:
    judge = Writer.by(weigh=likes_good, model="judge")
    how = LlmJudge(engine=judge, read="logprobs", ties=False)
    made = RLAIF(generator=Writer.by(lambda prompt, sample: "same"), judge=how).propose(items(2), Calls())
    assert judge.asked == [] and [each.first_wins for each in made] == [None, None]


def test_a_judge_is_named_by_kind_and_model() -> None:
    assert name_judge(LlmJudge(engine=Writer.by(model="x"))) == "llm/x"
