"""Thoughts and answers: every mark that models write is separated, and no honest text loses a character."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.engines.engine import Result
from prefboost.engines.reasoning import (
    SeparatedText,
    answer_of,
    is_marker,
    join_reasoning,
    opens_reasoning,
    separate_reasoning,
)

MARKS = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"), ("<THINK>", "</THINK>"),
    ("<reasoning>", "</reasoning>"), ("<scratchpad>", "</scratchpad>"), ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"), ("◁think▷", "◁/think▷"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<unused94>thought\n", "<unused95>"), ("<think >", "</think >"), ('<think level="2">', "</think>"),
    ("<longcat_think>", "</longcat_think>"), ("<mm:think>", "</mm:think>"), ("<antThinking>", "</antThinking>"),
    ("<|channel>thought\n", "<channel|>"), ("<|thought_start|>", "<|thought_end|>"), ("<cot>", "</cot>"),
    ("<｜begin▁of▁thinking｜>", "<｜end▁of▁thinking｜>"), ("<|begin_of_reasoning|>", "<|end_of_reasoning|>"),
]  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<>[]`~◁▷|"), max_size=60)


@pytest.mark.parametrize(("opening", "closing"), MARKS)
@given(thought=WORDS, answer=WORDS)
def test_a_thought_in_front_is_no_part_of_the_answer(opening: str, closing: str, thought: str, answer: str) -> None:
    for text in (f"{opening}{thought}{closing}{answer}", f"\n {opening}\n{thought}\n{closing}\n\n{answer}"):
        spoken = separate_reasoning(text)
        assert (spoken.answer, spoken.reasoning, spoken.is_open) == (answer.strip(), thought.strip(), False)


@pytest.mark.parametrize(("opening", "closing"), MARKS)
@given(thought=WORDS)
def test_a_thought_without_an_end_reaches_to_the_end(opening: str, closing: str, thought: str) -> None:
    assert separate_reasoning(opening + thought) == SeparatedText("", thought.strip(), is_open=True)
    assert separate_reasoning(thought, opened=True) == SeparatedText("", thought.strip(), is_open=True)


@given(WORDS)
def test_a_text_without_marks_is_the_answer_character_by_character(text: str) -> None:
    assert separate_reasoning(text) == SeparatedText(text)


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "a", "\n", " ", "`", "```", "b.", "[THINK]", "◁/think▷"]), max_size=12
    )
)
def test_no_order_of_marks_stops_the_separation_or_changes_an_answer_twice(pieces: list[str]) -> None:
    result = Result("".join(pieces), "stop", 1, 1)
    assert Result(**asdict(result)) == result, "a stored result is read as it was written"
    assert result.reasoning is not None or result.text == "".join(pieces)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("hm, so 4.</think>It is 4.", "It is 4.", "hm, so 4."),
        ("hm\n</think>\n\nIt is 4.", "It is 4.", "hm"),
        ("<think>\n\n</think>\n\nIt is 4.", "It is 4.", ""),
        ("<think>a<think>b</think>c</think>It is 4.", "It is 4.", "ab\n\nc"),
        ("<think>a</think><think>b</think>It is 4.", "It is 4.", "a\n\nb"),
        ("Sure.\n<think>a</think>\nIt is 4.", "Sure.\n\nIt is 4.", "a"),
        ("Sure.\n<think>a, and then", "Sure.", "a, and then"),
        ("<think>`half a code span</think>It is `4`.", "It is `4`.", "`half a code span"),
        ("<think>a</think><answer>It is 4.</answer>", "It is 4.", "a"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>It is 4.<|END_RESPONSE|>", "It is 4.", "a"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>It is 4.<|return|>",
         "It is 4.", "a"),
        ("Here are my steps:\na\n[BEGIN FINAL RESPONSE]\nIt is 4.\n[END FINAL RESPONSE]", "It is 4.",
         "Here are my steps:\na"),
        ("<think>Templates close with </think>, so do I.</think>It is 4.", "It is 4.",
         "Templates close with\n\n, so do I."),
    ],
)  # fmt: skip
def test_forms_in_use_are_separated(text: str, answer: str, reasoning: str) -> None:
    spoken = separate_reasoning(text)
    assert (spoken.answer, spoken.reasoning) == (answer, reasoning)
    assert answer_of(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "DeepSeek-R1 writes its thoughts between `<think>` and `</think>`.",
        "The template puts the <think> tag first, and the model ends with </think> before it answers.",
        "```xml\n<think>\nhm\n</think>\n```\nis what it looks like.",
        'Look for the string "</think>" in the text.',
        "An example: <thought>inner voice</thought> is an XML element.",
        "Use <reasoning> for the reason, please.",
        "I think 3 < 4 and 5 > 2, [THINK] about it.",
        "~~~\n</think>\n~~~",
    ],
)
def test_honest_texts_about_marks_are_kept_whole(text: str) -> None:
    assert separate_reasoning(text) == SeparatedText(text)


def test_a_prompt_shows_whether_it_ends_inside_a_thought() -> None:
    assert opens_reasoning("<|im_start|>assistant\n<think>\n")
    assert opens_reasoning("<｜Assistant｜><think>")
    assert not opens_reasoning("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_reasoning("<|im_start|>user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n")


def test_marks_of_vocabularies_are_known() -> None:
    assert all(map(is_marker, ["<think>", "</think>", "[THINK]", "<|channel|>", "<|END_THINKING|>"]))
    assert not any(map(is_marker, ["<s>", "<|im_end|>", "think", "<pad>", "<|end|>"]))


def test_thoughts_of_several_places_are_joined_and_none_stay_none() -> None:
    assert join_reasoning(None, None) is None
    assert join_reasoning("", None) == ""
    assert join_reasoning(" a ", None, "b", "") == "a\n\nb"
