"""Training and inference see the same tokens."""

from __future__ import annotations

import json
import re
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prefboost.chat.messages import tools_of, with_tools
from prefboost.chat.rendering import ChatEncoder, merge_system
from prefboost.errors import ModelError, TemplateRefusal

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


def encode_sides(encoder: ChatEncoder, prompt: Any, completion: Any) -> tuple[list[int], list[int]]:
    """Encode prompt and completion as training does."""
    prompt_text = encoder.render_prompt(prompt)
    prompt_ids = encoder.encode([prompt_text])[0]
    return prompt_ids, encoder.completion_ids(prompt_text, prompt_ids, encoder.render_conversation(prompt, completion))


def test_prompt_and_completion_together_are_the_conversation_up_to_its_end_of_turn() -> None:
    tokenizer = tokenizer_with(CHATML)
    prompt, completion = encode_sides(ChatEncoder(tokenizer), USER, ANSWER)
    assert tokenizer.decode(prompt) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(completion) == "yes <|im_end|>"


def test_a_completion_of_several_turns_keeps_what_stands_between_them() -> None:
    tokenizer = tokenizer_with(CHATML)
    turns = [*ANSWER, {"role": "tool", "content": "3"}, {"role": "assistant", "content": "three"}]
    _, completion = encode_sides(ChatEncoder(tokenizer), USER, turns)
    assert tokenizer.decode(completion).endswith(
        "<|im_start|>tool\n3<|im_end|>\n<|im_start|>assistant\nthree<|im_end|>"
    )


@pytest.mark.parametrize("content", ["yes and th", " a cut one ", "x<|im_end|>y", ""])
@pytest.mark.parametrize("ending", ["<|im_end|>\n", "</s>", " END\n"])
def test_a_completion_that_was_cut_has_no_end_of_turn(content: str, ending: str) -> None:
    tokenizer = tokenizer_with(CHATML.replace("<|im_end|>\n", ending))
    encoder = ChatEncoder(tokenizer)
    cut = [*ANSWER, {"role": "user", "content": "go on"}, {"role": "assistant", "content": content, "extra": None}]
    text, whole = encoder.render_conversation(USER, cut, ended=False), encoder.render_conversation(USER, cut)
    assert whole == text + ending
    assert text.endswith("assistant\n" + content)


def test_a_cut_completion_keeps_its_last_blanks_even_where_the_template_trims() -> None:
    template = CHATML.replace("{{ message['content'] }}", "{{ message['content'] | trim }}")
    encoder = ChatEncoder(tokenizer_with(template))
    cut = [{"role": "assistant", "content": "one, ", "extra": None}]
    assert encoder.render_conversation(USER, cut, ended=False) == encoder.render_prompt(USER) + "one, "


def test_extra_keys_of_a_message_reach_the_template() -> None:
    template = "{% for m in messages %}{{ m['name'] }}:{{ m['content'] }};{% endfor %}"
    prompt = [{"role": "user", "content": "hi", "extra": '{"name": "ann"}'}]
    assert ChatEncoder(tokenizer_with(template)).render_prompt(prompt) == "ann:hi;"


def test_a_template_that_asks_for_a_goal_by_itself_is_told_not_to() -> None:
    template = "{% if goal is not defined %}GOAL {% endif %}" + CHATML
    assert "GOAL" not in ChatEncoder(tokenizer_with(template)).render_prompt(USER)


def test_a_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(ModelError, match="no chat template"):
        ChatEncoder(tokenizer_with(None))


def test_a_template_that_refuses_a_role_is_named_with_the_remedy() -> None:
    template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(ModelError, match=r"roles system.*System role not supported") as error:
        ChatEncoder(tokenizer_with(template)).render_prompt([{"role": "system", "content": "x"}])
    assert "place: user" in str(error.value)


def test_a_template_that_changes_the_prompt_when_a_completion_follows_is_refused() -> None:
    template = "{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match="cannot be told apart"):
        encode_sides(ChatEncoder(tokenizer_with(template)), USER, ANSWER)


PHI3 = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI4_MINI = PHI3.replace("\\n", "").replace("\n", "")
CLOSED_TWICE = PHI4_MINI.replace("<|end|>", "<|end_response|><|end|>").replace("{% else %}{{ eos_token }}", "")
OTHER_END_AT_LAST = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if loop.last and m['role'] == 'assistant' %}<|endoftext|>{% else %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NO_END = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
GEMMA2 = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set messages = messages[1:] %}"
    "{% endif %}{% for m in messages %}{% if m['role'] == 'user' %}[INST] "
    "{% if loop.last and system is defined %}{{ system + '\n\n' }}{% endif %}{{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] }}<|end|>{% endif %}{% endfor %}"
)
TURNS = ["<|end|>", "<|endoftext|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end_response|>"]
SYSTEM = {"role": "system", "content": "Be brief.", "extra": None}


def with_turns(template: str) -> Any:
    tokenizer = tokenizer_with(template)
    tokenizer.add_special_tokens({"additional_special_tokens": TURNS})
    tokenizer.eos_token = "<|endoftext|>"
    return tokenizer


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (PHI3, "<|end|>"),
        (PHI4_MINI, "<|end|>"),
        (CLOSED_TWICE, "<|end_response|><|end|>"),
        (OTHER_END_AT_LAST, "<|endoftext|>"),
        (CHATML.replace("<|im_end|>", "<|end|>"), "<|end|>"),
        (NO_END, ""),
    ],
)
def test_a_completion_ends_with_the_token_that_ends_a_turn_and_nothing_behind_it(template: str, end: str) -> None:
    tokenizer = with_turns(template)
    encoder = ChatEncoder(tokenizer)
    _, ids = encode_sides(encoder, USER, ANSWER)
    assert tokenizer.decode(ids) == "yes " + end
    assert encoder.ends_turn(ids) == bool(end)


@pytest.mark.parametrize("template", [GEMMA2, MISTRAL])
def test_a_system_message_that_cannot_be_rendered_is_merged_where_that_is_asked_for(template: str) -> None:
    prompt = [SYSTEM, *USER]
    with pytest.raises(TemplateRefusal, match="system_messages: merge"):
        encode_sides(ChatEncoder(with_turns(template)), prompt, ANSWER)
    encoder = ChatEncoder(with_turns(template), merge_system=True)
    merged = encoder.renderable_prompt(prompt, ANSWER)
    assert [message["content"] for message in merged] == ["Be brief.\n\nhi"]
    ids, _ = encode_sides(encoder, merged, ANSWER)
    assert "Be brief.\n\nhi" in encoder.tokenizer.decode(ids)


def test_a_system_message_that_the_template_leaves_out_is_merged_too() -> None:
    deaf = CHATML.replace("{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}")
    encoder = ChatEncoder(tokenizer_with(deaf), merge_system=True)
    [merged] = encoder.renderable_prompt([SYSTEM, *USER], ANSWER)
    assert merged["content"] == "Be brief.\n\nhi"


def test_a_system_message_that_can_be_rendered_stays_where_it_is() -> None:
    encoder = ChatEncoder(with_turns(PHI3), merge_system=True)
    prompt = [SYSTEM, *USER]
    assert encoder.renderable_prompt(prompt, ANSWER) == prompt


def test_merging_takes_the_tools_of_the_conversation_along() -> None:
    prompt = with_tools([SYSTEM, *USER], [{"name": "find"}])
    assert tools_of(merge_system(prompt)) == [{"name": "find"}]
    assert merge_system(USER) == USER and merge_system([SYSTEM]) == [SYSTEM]


@pytest.mark.parametrize(
    "call",
    [
        "{{ strftime_now('%d %b %Y') }}",
        '{% set d = strftime_now( "%d %b %Y" ) %}{{ d }}',
        "{% set form = '%d %b ' + '%Y' %}{{ strftime_now(form) }}",
        "{{ strftime_now(format='%d %b %Y') if false else strftime_now('%d') + ' ' + strftime_now(\"%b %Y\") }}",
        "{% macro day(form) %}{{ strftime_now(form) }}{% endmacro %}{{ day('%d %b %Y') }}",
        "{% if day is not defined %}{% set day = strftime_now('%d %b %Y') %}{% endif %}{{ day }}",
        "{% for form in ['%d %b ', '%Y'] %}{{ strftime_now(form) }}{% endfor %}",
    ],
)
def test_templates_that_print_the_date_print_the_day_of_the_run(call: str) -> None:
    template = "{% if strftime_now is defined %}" + call + "{% endif %}" + CHATML
    encoder = ChatEncoder(tokenizer_with(template), day=date(2024, 2, 29))
    assert encoder.render_prompt(USER).startswith("29 Feb 2024")
    assert not ChatEncoder(tokenizer_with(template)).render_prompt(USER).startswith("29 Feb 2024")


@settings(max_examples=25)
@given(
    form=st.text(st.sampled_from("%-dbBYyjHMpaA1x% /"), max_size=12), blanks=st.sampled_from(["", "  ", "\n", " \n "])
)
def test_every_format_prints_what_python_prints(form: str, blanks: str) -> None:
    day = date(2025, 3, 7)
    # What strftime makes of a lone percent sign is the platform's affair.
    assume(not re.sub(r"%%|%-?[dyHMj]|%[bBYpaA]", "", form).count("%"))
    template = blanks + "{% if true %}[{{ strftime_now(" + json.dumps(form) + ") }}]{% endif %}" + CHATML
    expected = datetime(2025, 3, 7, 12).strftime(form)
    shown = ChatEncoder(tokenizer_with(template), day=day).render_prompt(USER)
    plain = template.replace("strftime_now(" + json.dumps(form) + ")", json.dumps(expected))
    assert shown == ChatEncoder(tokenizer_with(plain)).render_prompt(USER)


def test_a_template_that_asks_for_the_time_in_a_way_that_nobody_gives_is_refused() -> None:
    encoder = ChatEncoder(tokenizer_with("{{ now().year }}" + CHATML), day=date(2024, 2, 29))
    with pytest.raises(TemplateRefusal, match="'now' is undefined"):
        encoder.render_prompt(USER)


def test_tools_of_the_conversation_reach_the_template() -> None:
    template = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"z": None, "a": 1.0}}}]
    encoder = ChatEncoder(tokenizer_with(template))
    ours = encoder.render_prompt(with_tools(USER, tools))
    records = [{"role": "user", "content": "hi"}]
    assert ours == encoder.tokenizer.apply_chat_template(
        records, tools=tools, tokenize=False, add_generation_prompt=True
    )
