"""The saved model's template says the goal exactly as the training data do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tests.training.conftest import build_tokenizer

from prefboost.chat import PAPER_WORDING, SayGoal, format_number, goal_text, place_goal
from prefboost.chat.rendering import ChatEncoder, merge_system
from prefboost.errors import ModelError, SettingsError
from prefboost.training.policy.chat_template import (
    let_template_merge,
    merge_in_template,
    original_template,
    rewrite_template,
)

QWEN2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
    "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SMOLLM2 = QWEN2.replace("a helpful assistant", "a helpful AI assistant named SmolLM, trained by Hugging Face")
LLAMA31 = (
    "{{- bos_token }}\n{%- if not tools is defined %}\n    {%- set tools = none %}\n{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content']|trim %}\n"
    '    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = "" %}\n{%- endif %}\n'
    '{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}\n{{- "Today Date: 26 Jul 2024\\n\\n" }}\n'
    '{{- system_message }}\n{{- "<|eot_id|>" }}\n{%- for message in messages %}\n'
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
    "'<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"
)
GEMMA2 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
    "{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}"
)
MISTRAL3 = (
    '{%- if messages[0]["role"] == "system" %}\n    {%- set system_message = messages[0]["content"] %}\n'
    "    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n"
    '{{- bos_token }}\n{%- for message in loop_messages %}\n    {%- if message["role"] == "user" %}\n'
    "        {%- if loop.last and system_message is defined %}\n"
    '            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}\n'
    '        {%- else %}\n            {{- "[INST] " + message["content"] + "[/INST]" }}\n        {%- endif %}\n'
    '    {%- else %}\n        {{- " " + message["content"]|trim + eos_token}}\n    {%- endif %}\n{%- endfor %}\n'
)
ZEPHYR = (
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
    "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}"
    "\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
)
LEADING_SPACE = "  {% for m in messages %}\n{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
LEADING_NEWLINE = "\n\nTRANSCRIPT\n{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% endfor %}"

WITH_SYSTEM = {
    "qwen2": QWEN2,
    "smollm2": SMOLLM2,
    "llama31": LLAMA31,
    "mistral3": MISTRAL3,
    "zephyr": ZEPHYR,
    "leading space": LEADING_SPACE,
    "leading newline": LEADING_NEWLINE,
}
EVERY = {**WITH_SYSTEM, "gemma2": GEMMA2}

TEXT = st.text(alphabet=st.sampled_from("ab {}%'\"\\\n\té漢#<|>"), max_size=12)


@st.composite
def conversations(draw: Any, roles: bool = True) -> list[dict[str, Any]]:
    """A prompt: perhaps a system message, then turns that alternate, the last one the user's (or a tool's)."""
    turns = draw(st.integers(0, 2))
    messages = [{"role": "system", "content": draw(TEXT)}] if roles and draw(st.booleans()) else []
    for _ in range(turns):
        messages += [{"role": "user", "content": draw(TEXT)}, {"role": "assistant", "content": draw(TEXT)}]
    messages.append({"role": "user", "content": draw(TEXT)})
    if roles and draw(st.integers(0, 4)) == 0:
        messages += [{"role": "assistant", "content": "call"}, {"role": "tool", "content": draw(TEXT)}]
    return messages


def render(template: str, messages: list[dict[str, Any]], **asked: Any) -> str:
    from transformers.utils.chat_template_utils import render_jinja_template

    rendered, _ = render_jinja_template(
        conversations=[messages],
        chat_template=template,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
        **asked,
    )
    return str(rendered[0])


def plain(messages: Any) -> list[dict[str, Any]]:
    return [{"role": message["role"], "content": message["content"]} for message in messages]


SAY = SayGoal(place="system")
GOALS = st.one_of(
    st.integers(0, 10), st.floats(0, 10, allow_nan=False), st.sampled_from([1.115, 2.675, 7.0, 8.5, 0.005, -0.001])
)


@settings(max_examples=60, deadline=None)
@given(messages=conversations(), goal=GOALS, name=st.sampled_from(sorted(WITH_SYSTEM)))
def test_in_the_system_message_the_template_says_what_conditioning_says(messages: Any, goal: Any, name: str) -> None:
    template = WITH_SYSTEM[name]
    expected = render(template, plain(place_goal(messages, goal_text(SAY, goal), "system")))
    assert render(rewrite_template(template, SAY, 10), messages, goal=goal) == expected


@settings(max_examples=60, deadline=None)
@given(
    messages=conversations(roles=False),
    goal=GOALS,
    name=st.sampled_from(sorted(EVERY)),
    place=st.sampled_from(["user", "after"]),
)
def test_in_the_user_turn_the_template_says_what_conditioning_says(
    messages: Any, goal: Any, name: str, place: Any
) -> None:
    expected = render(EVERY[name], plain(place_goal(messages, goal_text(SAY, goal), place)))
    assert render(rewrite_template(EVERY[name], SAY, 10, place=place), messages, goal=goal) == expected


@settings(max_examples=40, deadline=None)
@given(
    messages=conversations(),
    aspects=st.dictionaries(st.sampled_from(["style", "help'fulness", "truth"]), st.floats(0, 10), max_size=3),
    goal=st.one_of(st.none(), GOALS),
    levels=st.sampled_from([(), ("bad", "so so", "good")]),
)
def test_aspects_are_said_as_conditioning_says_them(messages: Any, aspects: Any, goal: Any, levels: Any) -> None:
    say = SayGoal(place="system", levels=levels)
    rewritten = rewrite_template(QWEN2, say, 10, {"style": 9, "help'fulness": 8.25, "truth": 10})
    shown = render(rewritten, messages, goal=goal, aspects=aspects)
    silent = goal is None and not aspects
    expected = messages if silent else plain(place_goal(messages, goal_text(say, goal, aspects), "system"))
    assert shown == render(QWEN2, expected)


@settings(max_examples=40, deadline=None)
@given(goal=GOALS, decimals=st.integers(0, 4), high=st.sampled_from([4.0, 5.0, 10.0, 100.0]))
def test_levels_and_decimals_are_printed_alike(goal: Any, decimals: int, high: float) -> None:
    say = SayGoal(place="system", levels=("low", "middle", "fair", "high"), decimals=decimals, high=high)
    messages = [{"role": "user", "content": "hi"}]
    expected = render(QWEN2, plain(place_goal(messages, goal_text(say, goal), "system")))
    assert render(rewrite_template(QWEN2, say, say.high), messages, goal=goal) == expected


@pytest.mark.parametrize("name", EVERY)
def test_without_a_goal_the_top_score_is_asked_for(name: str) -> None:
    place = "system" if name in WITH_SYSTEM else "user"
    messages = [{"role": "user", "content": "hi"}]
    rewritten = rewrite_template(EVERY[name], SAY, 10, place=place)
    assert render(rewritten, messages) == render(EVERY[name], plain(place_goal(messages, goal_text(SAY, 10), place)))
    assert "Overall score: 10." in render(rewritten, messages)
    assert render(rewritten, messages, goal=True) == render(rewritten, messages)


@pytest.mark.parametrize("off", [False, None, "none"])
@pytest.mark.parametrize("name", EVERY)
def test_goals_can_be_switched_off(name: str, off: Any) -> None:
    messages = [{"role": "user", "content": "hi"}]
    rewritten = rewrite_template(EVERY[name], SAY, 10, {"style": 9}, place="user")
    assert render(rewritten, messages, goal=off) == render(EVERY[name], messages)


def test_a_goal_of_zero_is_a_goal() -> None:
    say = SayGoal(place="system", low=0, high=4)
    assert "Overall score: 0." in render(rewrite_template(QWEN2, say, 4), [{"role": "user", "content": "hi"}], goal=0)


def test_a_users_own_system_message_stands_behind_the_goal() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    shown = render(rewrite_template(QWEN2, SAY, 10), messages)
    assert "Overall score: 10.\n\nBe brief.<|im_end|>" in shown
    assert "You are a helpful assistant." not in shown


def test_without_an_overall_score_the_aspects_are_asked_for() -> None:
    shown = render(rewrite_template(QWEN2, SAY, None, {"style": 9.5}), [{"role": "user", "content": "hi"}])
    assert "Style score: 9.5." in shown and "Overall" not in shown


def test_an_unknown_aspect_is_refused_by_name() -> None:
    rewritten = rewrite_template(QWEN2, SAY, 10, {"style": 9})
    with pytest.raises(Exception, match=r"trained with the aspects style; not with: wit"):
        render(rewritten, [{"role": "user", "content": "hi"}], aspects={"wit": 3})


def test_content_in_parts_is_extended_by_a_part() -> None:
    template = "{% for m in messages %}{% for p in m['content'] %}[{{ p['text'] }}]{% endfor %}{% endfor %}"
    messages = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
    shown = render(rewrite_template(template, SayGoal(place="user", wording="G{{ goal }}"), 10), messages)
    assert shown == "[G10\n\n][hi]"


def test_rewriting_twice_replaces_the_first_rewriting() -> None:
    once = rewrite_template(ZEPHYR, SAY, 10)
    assert rewrite_template(once, SAY, 10) == once
    assert original_template(once) == ZEPHYR and original_template(ZEPHYR) == ZEPHYR


NO_SYSTEM = {
    "refuses": GEMMA2,
    "leaves it out": ZEPHYR.replace("message['role'] == 'system'", "false"),
    "writes it at the end": MISTRAL3,
}


@settings(max_examples=60, deadline=None)
@given(
    messages=conversations(),
    goal=GOALS,
    name=st.sampled_from(sorted(NO_SYSTEM)),
    place=st.sampled_from(["system", "user"]),
)
def test_a_merging_template_renders_what_training_renders_with_and_without_a_goal(
    messages: Any, goal: Any, name: str, place: Any
) -> None:
    assume(messages[-1]["role"] == "user")  # Gemma 2 knows no tools
    own = NO_SYSTEM[name]
    merging = merge_in_template(own)
    assert render(merging, messages) == render(own, plain(merge_system(messages)))
    both = rewrite_template(merging, SAY, 10, place=place)
    placed = place_goal(messages, goal_text(SAY, goal), place)
    assert render(both, messages, goal=goal) == render(own, plain(merge_system(placed)))
    assert rewrite_template(both, SAY, 10, place=place) == both == merge_in_template(both)
    assert original_template(both) == original_template(merging) == own
    assert merge_in_template(rewrite_template(own, SAY, 10, place=place)) == both


@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}]])
@pytest.mark.parametrize("user", ["Hi", [{"type": "text", "text": "Hi"}]])
def test_contents_in_parts_are_merged_too(system: Any, user: Any) -> None:
    parts = "{% for p in messages[0]['content'] %}{{ p if p is string else p['text'] }}{% endfor %}"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    assert render(merge_in_template(parts), messages) == "Be brief.\n\nHi"


@pytest.mark.parametrize(("name", "merges"), [*((name, True) for name in sorted(NO_SYSTEM)), ("keeps it", False)])
def test_a_template_merges_where_training_had_to(name: str, merges: bool) -> None:
    own = {**NO_SYSTEM, "keeps it": QWEN2}[name]
    for allowed in (True, False):
        encoder = ChatEncoder(build_tokenizer(own), merge_system=allowed)
        let_template_merge(encoder)
        assert (encoder.tokenizer.chat_template != own) == (merges and allowed)
    encoder = ChatEncoder(build_tokenizer({"default": own, "tool_use": own}), merge_system=True)
    let_template_merge(encoder)
    assert set(encoder.tokenizer.chat_template.values()) == {merge_in_template(own) if merges else own}


ALLOWED = {
    nodes.Filter: {"int", "string"},
    nodes.Test: {"boolean", "defined", "mapping", "none", "string"},
    nodes.Operand: {"eq", "gt", "gteq", "in", "lt", "lteq", "notin"},
    **dict.fromkeys(
        (nodes.Template, nodes.Output, nodes.Assign, nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.And)
    ),
    **dict.fromkeys((nodes.Or, nodes.Not, nodes.Neg, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Const)),
    **dict.fromkeys((nodes.Name, nodes.NSRef, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.List, nodes.Dict)),
    **dict.fromkeys((nodes.Pair, nodes.Keyword)),
    nodes.Call: {"namespace", "raise_exception"},
}
"""What may stand in the lines we add: rendered alike by transformers, llama.cpp's engine and minja."""


def added_lines() -> list[nodes.Template]:
    """What every kind of rewriting puts before a model's template, parsed as vLLM parses it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    says = [
        SayGoal(place=place, levels=levels, decimals=decimals)
        for place in ("system", "user", "after")
        for levels in ((), ("bad", "good"))
        for decimals in (0, 2)
    ]
    bases = ("", merge_in_template(""))
    return [
        environment.parse(rewrite_template(base, say, 10, {"style": 9, "wit": 3})) for say in says for base in bases
    ]


@pytest.mark.parametrize("parsed", added_lines())
def test_only_constructs_that_other_engines_have_are_used(parsed: nodes.Template) -> None:
    for node in parsed.find_all(nodes.Node):
        assert type(node) in ALLOWED, f"line {node.lineno}: {node}"
        names = ALLOWED[type(node)]
        used = {nodes.Operand: "op", nodes.Call: "node"}.get(type(node), "name")
        found = getattr(node, used, None)
        assert names is None or getattr(found, "name", found) in names, f"{node}"


@pytest.mark.parametrize("parsed", added_lines())
def test_vllm_passes_goal_and_aspects_on_and_sees_contents_as_text(parsed: nodes.Template) -> None:
    # vLLM drops chat_template_kwargs that the template does not mention, and takes a template that loops over a
    # message's content for one that wants content in parts.
    assert {"goal", "aspects", "messages"} <= meta.find_undeclared_variables(parsed)
    looped = {each.iter.name if isinstance(each.iter, nodes.Name) else "" for each in parsed.find_all(nodes.For)}
    assert looped <= {"aspects", "messages", ""}
    plain_assignments = [each for each in parsed.find_all(nodes.Assign) if isinstance(each.node, nodes.Getitem)]
    assert not any(getattr(each.node.node, "name", "") == "messages" for each in plain_assignments)


@pytest.mark.parametrize(
    "wording",
    [
        "Score {{ goal | float * 2 }}",
        "Score {{ goal }} of {{ goal }}",
        "{% if goal == '10' %}Best{% else %}Score {{ goal }}{% endif %}",
    ],
)
def test_a_wording_that_calculates_is_refused(wording: str) -> None:
    say = SayGoal.model_construct(place="system", wording=wording, low=1.0, high=10.0, decimals=2, levels=())
    with pytest.raises(SettingsError, match=r"wording"):
        rewrite_template(QWEN2, say, 10)


def test_a_wording_with_text_behind_its_numbers_works() -> None:
    say = SayGoal(place="system", wording="Aim: {{ goal }} of {{ high }}, please.")
    shown = render(rewrite_template(QWEN2, say, 10), [{"role": "user", "content": "hi"}], goal=7.25)
    assert "Aim: 7.25 of 10, please." in shown


def test_an_unresolved_place_is_refused() -> None:
    with pytest.raises(ModelError, match="not resolved"):
        rewrite_template(QWEN2, SayGoal(place="auto"), 10)


@given(st.floats(-20, 20), st.integers(0, 6))
def test_the_template_computes_the_digits_that_conditioning_prints(goal: float, decimals: int) -> None:
    say = SayGoal(place="user", wording="<{{ goal }}>", decimals=decimals)
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(rewrite_template("{{ messages[0]['content'] }}", say, 10))
    shown = template.render(messages=[{"role": "user", "content": ""}], goal=goal)
    assert shown == f"<{format_number(goal, decimals)}>\n\n"


def test_the_published_wording_is_the_default() -> None:
    assert SAY.wording == PAPER_WORDING
