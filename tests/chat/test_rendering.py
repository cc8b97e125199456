"""Training and inference see the same tokens."""

from __future__ import annotations

from typing import Any

import pytest

from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import ModelError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
USER = [{"role": "user", "content": "hi", "extra": None}]
ANSWER = [{"role": "assistant", "content": "yes ", "extra": None}]


def tokenizer_with(template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bare = Tokenizer(models.BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token="<|im_end|>", bos_token="<|im_start|>")
    tokenizer.chat_template = template
    return tokenizer


def test_prompt_and_completion_together_are_the_conversation_up_to_its_end_of_turn() -> None:
    tokenizer = tokenizer_with(CHATML)
    prompt, completion = ChatEncoder(tokenizer).prompt_and_completion(USER, ANSWER)
    assert tokenizer.decode(prompt) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(completion) == "yes <|im_end|>"


def test_a_completion_of_several_turns_keeps_what_stands_between_them() -> None:
    tokenizer = tokenizer_with(CHATML)
    turns = [*ANSWER, {"role": "tool", "content": "3"}, {"role": "assistant", "content": "three"}]
    _, completion = ChatEncoder(tokenizer).prompt_and_completion(USER, turns)
    assert tokenizer.decode(completion).endswith(
        "<|im_start|>tool\n3<|im_end|>\n<|im_start|>assistant\nthree<|im_end|>"
    )


@pytest.mark.parametrize("content", ["yes and th", " a cut one ", "x<|im_end|>y", ""])
@pytest.mark.parametrize("ending", ["<|im_end|>\n", "</s>", " END\n"])
def test_a_completion_that_was_cut_has_no_end_of_turn(content: str, ending: str) -> None:
    tokenizer = tokenizer_with(CHATML.replace("<|im_end|>\n", ending))
    encoder = ChatEncoder(tokenizer)
    cut = [*ANSWER, {"role": "user", "content": "go on"}, {"role": "assistant", "content": content, "extra": None}]
    text, whole = encoder.whole_text(USER, cut, ended=False), encoder.whole_text(USER, cut)
    assert whole == text + ending
    assert text.endswith("assistant\n" + content)


def test_a_cut_completion_keeps_its_last_blanks_even_where_the_template_trims() -> None:
    template = CHATML.replace("{{ message['content'] }}", "{{ message['content'] | trim }}")
    encoder = ChatEncoder(tokenizer_with(template))
    cut = [{"role": "assistant", "content": "one, ", "extra": None}]
    assert encoder.whole_text(USER, cut, ended=False) == encoder.prompt_text(USER) + "one, "


def test_extra_keys_of_a_message_reach_the_template() -> None:
    template = "{% for m in messages %}{{ m['name'] }}:{{ m['content'] }};{% endfor %}"
    prompt = [{"role": "user", "content": "hi", "extra": '{"name": "ann"}'}]
    assert ChatEncoder(tokenizer_with(template)).prompt_text(prompt) == "ann:hi;"


def test_a_template_that_asks_for_a_goal_by_itself_is_told_not_to() -> None:
    template = "{% if goal is not defined %}GOAL {% endif %}" + CHATML
    assert "GOAL" not in ChatEncoder(tokenizer_with(template)).prompt_text(USER)


def test_a_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        ChatEncoder(tokenizer_with(None))


def test_a_template_that_refuses_a_role_is_named_with_the_remedy() -> None:
    template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ModelError, match=r"roles system.*System role not supported") as error:
        ChatEncoder(tokenizer_with(template)).prompt_text([{"role": "system", "content": "x"}])
    assert "place: user" in str(error.value)


def test_a_template_that_changes_the_prompt_when_a_completion_follows_is_refused() -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match="cannot be told apart"):
        ChatEncoder(tokenizer_with(template)).prompt_and_completion(USER, ANSWER)
