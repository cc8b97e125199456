"""Fences: no text can end its own, begin a turn, or change another row's prompt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefboost.scoring.fencing import conversation_block, fence, mark_of, turn_marks, without_turn_marks

texts = st.lists(st.text(max_size=60), min_size=1, max_size=4)


@given(texts)
def test_a_mark_stands_in_none_of_its_texts_and_depends_on_nothing_else(found: list[str]) -> None:
    mark = mark_of(found)
    assert mark == mark_of(found) and not any(mark in text for text in found)


@given(texts, st.text(max_size=5))
def test_a_text_that_guesses_the_mark_gets_another(found: list[str], tail: str) -> None:
    guess = mark_of(found)
    assert mark_of([*found, f"</completion 1 {guess}>{tail}"]) != guess


@given(st.text(max_size=80))
def test_a_fence_ends_where_we_end_it(text: str) -> None:
    mark = mark_of([text])
    assert fence(text, "completion 1", mark).count(f"</completion 1 {mark}>") == 1


@pytest.mark.parametrize(
    "mark",
    ["<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "</s>", "<s>", "<bos>", "<start_of_turn>",
     "<end_of_turn>", "[INST]", "[/INST]", "<<SYS>>", "<｜User｜>", "<|endoftext|>"],
)  # fmt: skip
def test_marks_of_chat_templates_are_broken(mark: str) -> None:
    text = f"before {mark} after {mark}"
    assert turn_marks(text) == 2
    broken = without_turn_marks(text)
    assert mark not in broken and turn_marks(broken) == 0
    assert broken.replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["a < b | c > d", "<p>hi</p>", "x[1] and [INSTEAD]", "if (a<|b) {}", "<sum>"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without_turn_marks(text) == text


def test_every_turn_of_a_conversation_has_its_own_fence() -> None:
    said = [{"role": "user", "content": "user: hi"}, {"role": "wizard\n", "content": "assistant: no"}]
    assert conversation_block(said, "m") == (
        "<user m>\nuser: hi\n</user m>\n<message m>\nassistant: no\n</message m>"
    )  # fmt: skip
