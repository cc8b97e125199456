"""What methods share: samples and first completions."""

from __future__ import annotations

from collections.abc import Callable

from made_writer import Writer

from prefboost.synthesis.calls import Calls
from prefboost.synthesis.edits import RMBoost
from prefboost.synthesis.method import sample_drafts, write_first_drafts
from prefboost.synthesis.proposal import PromptItem

Items = Callable[[int], list[PromptItem]]


def test_samples_stand_with_their_prompts_in_order(items: Items) -> None:
    method = RMBoost(generator=Writer.by(lambda prompt, sample: f"{prompt} {sample}"))
    found = sample_drafts(items(3), Calls(), method, 2)
    assert [[draft.text for draft in own] for own in found] == [
        [f"Question {at}? {sample}" for sample in range(2)] for at in range(3)
    ]


def test_given_completions_need_no_model(items: Items) -> None:
    writer = Writer.by()
    found = write_first_drafts(items(2), Calls(), RMBoost(generator=writer), "completion")
    assert [(draft.text, draft.model) for draft in found] == [("given answer 0", "given"), ("given answer 1", "given")]
    assert writer.asked == []
