from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prefboost.chat.template import Render, probe_template

QWEN2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}<start_of_turn>{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
)
MISTRAL = (
    "{% set system = messages[0]['content'] + '\n\n' if messages[0]['role'] == 'system' else '' %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "[INST] {% if loop.last or messages[loop.index]['role'] == 'assistant' %}{{ system }}{% endif %}"
    "{{ message['content'] }}[/INST]{% elif message['role'] == 'assistant' %} {{ message['content'] }}</s>{% endif %}"
    "{% endfor %}"
)
SILENT = "{% for m in messages if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
LEAKY = "{% for m in messages %}<{{ m['role'] }} {{ messages[-1]['content'] | length }}>{{ m['content'] }}{% endfor %}"


def renderer(template: str) -> Render:
    def refuse(message: str) -> None:
        raise ValueError(message)

    compiled = ImmutableSandboxedEnvironment().from_string(template)

    def render(messages: Sequence[Mapping[str, Any]]) -> str:
        return compiled.render(messages=messages, bos_token="<bos>", raise_exception=refuse)

    return render


@pytest.mark.parametrize(
    ("template", "role", "place"),
    [
        (QWEN2, "kept", "system"),
        (GEMMA2, "refused", "user"),
        (MISTRAL, "merged", "user"),
        (SILENT, "dropped", "user"),
    ],
)
def test_the_probe_finds_what_becomes_of_a_system_message(template: str, role: str, place: str) -> None:
    probe = probe_template(renderer(template))
    assert (probe.system_role, probe.place, probe.same_prompt) == (role, place, True)


def test_a_template_that_gives_two_prompts_to_two_completions_is_noticed() -> None:
    assert not probe_template(renderer(LEAKY)).same_prompt
