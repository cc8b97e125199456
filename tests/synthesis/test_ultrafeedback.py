"""UltraFeedback: a pool writes, a scorer rates, a strategy pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from made_writer import LengthScorer, Writer
from pydantic import ValidationError

from prefboost.preferences import AllPairs, BestVsWorst
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.proposal import PromptItem
from prefboost.synthesis.ultrafeedback import NO_PAIR, UltraFeedbackPairs

Items = Callable[[int], list[PromptItem]]


def pool(count: int) -> tuple[Writer, ...]:
    return tuple(
        Writer.by(lambda p, s, words=words: " ".join([f"w{words}"] * words), model=f"m{words}")
        for words in range(1, count + 1)
    )


def test_each_prompt_gets_completions_of_drawn_members(items: Items) -> None:
    models = pool(5)
    made = UltraFeedbackPairs(pool=models, scorer=LengthScorer(), n=2, pair=BestVsWorst()).propose(items(100), Calls())
    assert sum(len(model.asked) for model in models) == 200
    counts = Counter(name for each in made for name in each.lineage["pool"])
    assert len(counts) == 5 and min(counts.values()) > 20
    for each in made:
        assert len(each.first.text.split()) > len(each.second.text.split())
        assert each.scores[0][""] == len(each.first.text.split())


def test_all_pairs_of_a_prompt_have_names_of_their_own(items: Items) -> None:
    made = UltraFeedbackPairs(pool=pool(3), scorer=LengthScorer(), n=3, pair=AllPairs()).propose(items(1), Calls())
    assert sorted(each.name for each in made) == ["1~0", "2~0", "2~1"] or len({each.name for each in made}) == 3
    assert {(each.first.model, each.second.model) for each in made} == {("m3", "m1"), ("m2", "m1"), ("m3", "m2")}


def test_ids_that_look_like_numbers_and_ends_are_kept_apart(items: Items) -> None:
    odd = [PromptItem(at, name, items(1)[0].prompt) for at, name in enumerate(("0", "0/1", "1~0", "/1~"))]
    made = UltraFeedbackPairs(pool=pool(2), scorer=LengthScorer(), n=2, pair=BestVsWorst()).propose(odd, Calls())
    assert [(each.item.prompt_id, each.first.model) for each in made] == [(item.prompt_id, "m2") for item in odd]


def test_a_member_that_stands_twice_writes_two_completions(items: Items) -> None:
    writer = Writer.by(lambda p, s: "word " * (s + 1), model="one")
    made = UltraFeedbackPairs(pool=(writer, writer), scorer=LengthScorer(), n=2).propose(items(1), Calls())
    assert sorted(request.sample for request in writer.asked) == [0, 1] and made[0].why_not is None


def test_a_prompt_without_two_different_scores_is_counted(items: Items) -> None:
    writer = Writer.by(lambda p, s: f"word{s}", model="one")
    made = UltraFeedbackPairs(pool=(writer, writer), scorer=LengthScorer(), n=2).propose(items(2), Calls())
    assert [each.why_not and each.why_not[0] for each in made] == [NO_PAIR] * 2


def test_a_pool_too_small_is_refused() -> None:
    with pytest.raises(ValidationError, match="the pool has 1 members"):
        UltraFeedbackPairs(pool=pool(1), scorer=LengthScorer())
