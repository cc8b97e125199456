"""RMBoost and CLAIR: the label comes first, the second completion is asked for by it, the plan is no part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from faulty_server import FaultyServer
from made_writer import Writer

from prefboost.engines.engine import Sampling
from prefboost.engines.openai.engine import OpenAICompatible
from prefboost.synthesis.aspects import Aspects
from prefboost.synthesis.calls import Calls
from prefboost.synthesis.edits import NO_COMPLETION, Clair, RMBoost, separate_plan
from prefboost.synthesis.filters import Filters
from prefboost.synthesis.pairs import build_pairs_table
from prefboost.synthesis.proposal import Draft, PromptItem, list_prompt_items
from prefboost.tables import Table

Items = Callable[[int], list[PromptItem]]


def editing(prompt: str, sample: int) -> str:
    if "Write another response" not in prompt:
        return f"plain answer to {prompt}"
    return f"{'good' if 'better than' in prompt else 'bad'} answer"


def test_both_gives_a_better_and_a_worse_second_from_three_generations(items: Items) -> None:
    writer = Writer.by(editing)
    made = RMBoost(generator=writer, label="both").propose(items(2), Calls())
    assert [(each.second.text, each.first_wins, each.name) for each in made] == [
        ("good answer", 0.0, "better"),
        ("bad answer", 1.0, "worse"),
    ] * 2
    assert len(writer.asked) == 6
    assert made[0].lineage["direction"] == "better" and made[1].lineage["direction"] == "worse"
    assert made[0].lineage["prompt"].startswith("rmboost/")
    assert made[0].lineage["aspects"] == ["helpfulness", "relevance", "completeness"]


def test_thoughts_are_no_part_of_either_completion_and_stand_in_the_lineage(prompts: Callable[[int], Table]) -> None:
    def thinking(reply: dict[str, Any], prompt: str) -> dict[str, Any]:
        edits = "Reference response:" in prompt
        thought = "make it worse on purpose" if edits else "what is asked here?"
        text = f"Most rivers end in lakes, says note {len(prompt)}." if edits else f"Rivers run to the sea. {prompt}"
        marked = f"{thought}\n</think>\n\n{text}" if edits else f"<think>{thought}</think>{text}"
        return reply | {"choices": [{"message": {"content": marked}, "finish_reason": "stop"}]}

    with FaultyServer(dialect=thinking) as server:
        method = RMBoost(generator=OpenAICompatible(model="m", base_url=server.base_url), filters=Filters())
        items = list_prompt_items(prompts(8))
        made = build_pairs_table(prompts(8), method, method.propose(items, Calls()), {})
    assert len(made) == 8
    asked = [body["messages"][-1]["content"] for body in server.bodies]
    assert not any("what is asked here?" in text for text in asked), "the reference is the answer alone"
    for row in made.frame.iter_rows(named=True):
        texts = [row[side][0]["content"] for side in ("chosen", "rejected")]
        assert not any("think" in text or "on purpose" in text for text in texts)
        lineage = json.loads(row["lineage"])
        assert lineage["reasoning"] == {"first": "what is asked here?", "second": "make it worse on purpose"}


def test_a_completion_that_is_thoughts_alone_is_set_aside_with_its_reason(items: Items) -> None:
    made = RMBoost(generator=Writer.by(lambda prompt, sample: "<think>so many words<cut>")).propose(items(1), Calls())
    assert made[0].why_not is not None and made[0].why_not[0].startswith("a completion is thoughts alone")


def test_thoughts_in_a_completion_that_the_table_has_are_no_part_of_the_reference() -> None:
    item = PromptItem(
        0, "q", [{"role": "user", "content": "Q?", "extra": None}], {"completion": "<think>a</think>An answer."}
    )
    made = RMBoost(generator=Writer.by(editing), first="completion").propose([item], Calls())
    assert (made[0].first.text, made[0].first.reasoning) == ("An answer.", "a")


def test_bernoulli_draws_one_direction_a_prompt_with_its_probability(items: Items) -> None:
    made = RMBoost(generator=Writer.by(editing), p_better=0.3).propose(items(600), Calls())
    assert len(made) == 600
    better = [each.first_wins == 0.0 for each in made]
    assert sum(better) / 600 == pytest.approx(0.3, abs=0.06)
    assert all((each.second.text == "good answer") == wins for each, wins in zip(made, better, strict=True))
    fewer = RMBoost(generator=Writer.by(editing), p_better=0.3).propose(items(600)[::-7], Calls())
    assert [each.first_wins for each in fewer] == [each.first_wins for each in made[::-7]]


def test_the_request_holds_the_whole_conversation_the_reference_and_the_window(conversation: PromptItem) -> None:
    writer = Writer.by(lambda prompt, sample: "one two three four five six seven eight nine ten")
    RMBoost(generator=writer, p_better=1.0, length_window=0.2).propose([conversation], Calls())
    asked = writer.prompts[1]
    for piece in (
        "[system]\nBe brief.",
        "[assistant]\nHi!",
        "Name a river.",
        "one two three",
        "between 8 and 12 words",
    ):
        assert piece in asked
    assert len(writer.asked[0].prompt) == 4, "the first completion answers the conversation itself"


def test_another_model_may_edit_and_first_completions_may_be_given(items: Items) -> None:
    writer, editor = Writer.by(), Writer.by(editing, model="editor")
    method = RMBoost(generator=writer, editor=editor, first="completion", edit_sampling=Sampling(max_tokens=7))
    made = method.propose(items(3), Calls())
    assert writer.asked == [] and len(editor.asked) == 3
    assert [each.first.text for each in made] == [f"given answer {at}" for at in range(3)]
    assert {(each.first.model, each.second.model) for each in made} == {("given", "editor")}


def test_a_column_that_is_not_there_is_a_reason(items: Items) -> None:
    made = RMBoost(generator=Writer.by(editing), first="chosen").propose(items(1), Calls())
    assert [each.why_not for each in made] == [("the table has no chosen", "")]


def test_aspects_are_drawn_by_pair(items: Items) -> None:
    writer = Writer.by(editing)
    made = RMBoost(generator=writer, aspects=Aspects(k=1), label="both").propose(items(40), Calls())
    assert {len(each.lineage["aspects"]) for each in made} == {1}
    assert len({each.lineage["aspects"][0] for each in made}) == 3
    for each, asked in zip(made, writer.prompts[40:], strict=True):
        assert f"- {each.lineage['aspects'][0]}: " in asked and asked.count("\n- ") == 1


@pytest.mark.parametrize("raw", ["more facts\n====\n better \n", "more facts\n  =====  \nbetter"])
def test_only_what_follows_the_plan_is_the_completion(raw: str) -> None:
    found = separate_plan(Draft(raw.strip(), raw=raw), True)
    assert (found.text, found.plan, found.raw, found.fault) == ("better", "more facts", raw, None)


@pytest.mark.parametrize("raw", ["more facts, and then: better", "more facts\n====\n  "])
def test_a_plan_without_a_completion_is_a_reason(raw: str) -> None:
    found = separate_plan(Draft(raw.strip(), raw=raw), True)
    assert found.fault is not None and found.fault[0] == NO_COMPLETION


def test_without_a_plan_asked_for_the_text_stays_as_it_is() -> None:
    draft = Draft("a\n====\nb", raw="a\n====\nb")
    assert separate_plan(draft, False) == draft


def test_clair_asks_for_the_smallest_revision_and_prefers_it(items: Items) -> None:
    writer = Writer.by(lambda prompt, sample: "revised" if "change as little" in prompt else "draft")
    made = Clair(generator=writer).propose(items(2), Calls())
    assert [(each.first.text, each.second.text, each.first_wins) for each in made] == [("draft", "revised", 0.0)] * 2


@pytest.mark.parametrize("method", [RMBoost, Clair])
def test_an_empty_first_completion_is_no_reference(method: Any, items: Items) -> None:
    writer = Writer.by(lambda prompt, sample: " " if "Question 0" in prompt else "fine words")
    made = method(generator=writer).propose(items(2), Calls())
    assert [each.why_not and each.why_not[0] for each in made] == ["a completion is empty", None]
    assert len(writer.asked) == 3
