"""Chat templates that ask for the top score by themselves.

A saved policy's template begins with a few lines of plain Jinja that build a new list of messages, with the goal said
exactly as `prefboost.chat.place_goal` says it in training data; the model's own template follows verbatim. Only
constructs that transformers, vLLM and llama.cpp all have are used.

    apply_chat_template(messages)                         the top score
    apply_chat_template(messages, goal=7)                 another score
    apply_chat_template(messages, aspects={"style": 3})   other aspects
    apply_chat_template(messages, goal=False)             nothing is said
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from prefboost.chat import Place, SayGoal, goal_text
from prefboost.chat.goal_text import print_goal, render_wording
from prefboost.errors import ModelError, SettingsError

__all__ = ["original_template", "rewrite_template"]

_BEGIN = "{#- prefboost: says the goal -#}"
_END = "{#- prefboost: the model's own template follows -#}{{- '' }}"
_GOAL, _ASPECT = "\ue000{}\ue001", "\ue002{}\ue003"


def rewrite_template(
    template: str,
    say: SayGoal,
    top: float | None,
    aspects: Mapping[str, float] | None = None,
    place: Place | None = None,
) -> str:
    """The template with the goal said by itself.

    Args:
        template: the model's own (an earlier rewriting is replaced).
        say: how goals were said in training.
        top: the overall score asked for when no ``goal`` is given; None where training said aspects only.
        aspects: aspect name -> score asked for when no ``aspects`` are given: any vector; only these names are known.
        place: system, user or after; default ``say.place``, which must not be auto.

    Returns:
        a template of which ``apply_chat_template(messages, goal=g)`` equals the model's own template applied to
        ``place_goal(messages, goal_text(say, g, aspects), place)``. A prompt without a user turn stays as it is where
        the goal belongs in the user turn.

    Raises:
        ModelError: the place is not resolved.
        SettingsError: the wording does more with its numbers than print them, or prints more than four decimals.
    """
    place = place or say.place
    if place not in _PLACEMENTS:
        raise ModelError(
            f"the goal's place {place!r} is not resolved", remedy="give system, user or after (condition has chosen it)"
        )
    if say.decimals > 4:
        raise SettingsError(
            f"decimals {say.decimals}: a chat template can print at most 4", remedy="write decimals: 4 or fewer"
        )
    names = sorted(aspects or {})
    own = original_template(template)
    stripped = own.lstrip(" \t")  # what lstrip_blocks would remove were it still at the beginning
    own = stripped if stripped.startswith(("{%", "{#")) else own
    lines = [
        _BEGIN,
        *_asked_for(say, top, aspects or {}),
        _says(say, names),
        "{%- if pb_goal is not none or pb.said -%}",
        _PLACEMENTS[place],
        "{%- endif -%}",
        _END,
    ]
    return "".join(lines) + own


def original_template(template: str) -> str:
    """The model's own template, without an earlier rewriting."""
    return template.partition(_END)[2] if template.startswith(_BEGIN) and _END in template else template


def _literal(text: str) -> str:
    """A Jinja string."""
    for char, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(char, escaped)
    return f"'{text}'"


def _number(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".") or "0"


def _asked_for(say: SayGoal, top: float | None, aspects: Mapping[str, float]) -> list[str]:
    """Lines that set pb_goal (a number, or none) and pb_0, pb_1, ... (one an aspect, in the order of their names)."""
    default = "none" if top is None else _number(round(top, say.decimals))
    lines = [
        f"{{%- set pb_goal = {default} -%}}",
        "{%- set pb = namespace(said=false, text='') -%}",
        "{%- set pb_off = false -%}",
        "{%- if goal is defined -%}{%- set pb_goal = goal -%}",
        "{%- if goal is none or goal is boolean or goal == 'none' -%}",
        f"{{%- if goal == true and goal is boolean -%}}{{%- set pb_goal = {default} -%}}",
        "{%- else -%}{%- set pb_goal = none -%}{%- set pb_off = true -%}{%- endif -%}",
        "{%- endif -%}{%- endif -%}",
    ]
    names = sorted(aspects)
    known = f"[{', '.join(map(_literal, names))}]"
    refusal = _literal(f"this model was trained with the aspects {', '.join(names) or 'none'}; not with: ")
    lines += [
        "{%- if aspects is defined and aspects is mapping -%}{%- for name in aspects -%}",
        f"{{%- if name not in {known} -%}}{{{{- raise_exception({refusal} + name) -}}}}{{%- endif -%}}",
        "{%- endfor -%}{%- endif -%}",
    ]
    for index, name in enumerate(names):
        key = _literal(name)
        lines += [
            f"{{%- set pb_{index} = none -%}}",
            "{%- if aspects is defined and aspects is mapping -%}",
            f"{{%- if {key} in aspects -%}}{{%- set pb_{index} = aspects[{key}] -%}}{{%- endif -%}}",
            "{%- elif not pb_off and (aspects is not defined or aspects is none) -%}",
            f"{{%- set pb_{index} = {_number(round(aspects[name], say.decimals))} -%}}{{%- endif -%}}",
        ]
    return lines


def _printed(variable: str, say: SayGoal) -> str:
    """An expression that prints a number as `prefboost.chat.goal_text.print_goal` does; strings stand as they are."""
    number = _printed_number(variable, say.decimals)
    if not say.levels:
        return f"({variable} if {variable} is string else {number})"
    rounded = f"({variable} | round({say.decimals}))"
    count, low, high = len(say.levels), _number(say.low), _number(say.high)
    band = (
        f"({count - 1} if {rounded} >= {high} else 0 if {rounded} <= {low} else "
        f"((({rounded} - {low}) / ({high} - {low}) * {count}) | int))"
    )
    names = f"[{', '.join(map(_literal, say.levels))}]"
    return f"({variable} if {variable} is string else {number} + ' (' + {names}[{band}] + ')')"


def _printed_number(variable: str, decimals: int) -> str:
    return (
        f"(({variable} | int) | string if {variable} == ({variable} | int) else "
        f"((({variable} | round({decimals})) | int) | string "
        f"if ({variable} | round({decimals})) == (({variable} | round({decimals})) | int) "
        f"else ({variable} | round({decimals})) | string))"
    )


def _says(say: SayGoal, names: list[str]) -> str:
    """Lines that put the wording, with its numbers, into pb.text."""
    head, goal, segments, tail = _parts(say, names)
    if goal is None:
        lines = [f"{{%- set pb.text = {_literal(head)} -%}}"]
    else:
        before, after = goal
        lines = [
            f"{{%- set pb.text = {_literal(head)} -%}}{{%- if pb_goal is not none -%}}",
            f"{{%- set pb.text = pb.text + {_literal(before)} + {_printed('pb_goal', say)}"
            f" + {_literal(after)} -%}}{{%- endif -%}}",
        ]
    for index, (before, after) in enumerate(segments):
        lines += [
            f"{{%- if pb_{index} is not none -%}}{{%- set pb.said = true -%}}",
            f"{{%- set pb.text = pb.text + {_literal(before)} + {_printed(f'pb_{index}', say)}"
            f" + {_literal(after)} -%}}{{%- endif -%}}",
        ]
    return "".join(lines) + f"{{%- set pb.text = pb.text + {_literal(tail)} -%}}"


Segment = tuple[str, str]


def _parts(say: SayGoal, names: list[str]) -> tuple[str, Segment | None, list[Segment], str]:
    """The wording as head + goal's segment + one segment an aspect + tail, each segment printing its number once."""
    numbers = {name: _ASPECT.format(index) for index, name in enumerate(names)}
    goal = _GOAL.format(0)
    none = _fill(say, None, {})
    singles = [_fill(say, goal, {}), *(_fill(say, None, {name: numbers[name]}) for name in names)]
    everything = _fill(say, goal, numbers)
    for cut in range(len(none), -1, -1):
        head, tail = none[:cut], none[cut:]
        if any(not text.startswith(head) or not text.endswith(tail) for text in singles):
            continue
        segments = [text[len(head) : len(text) - len(tail)] for text in singles]
        if head + "".join(segments) + tail == everything:
            marks = [goal, *numbers.values()]
            split = [_around(segment, mark) if segment else None for segment, mark in zip(segments, marks, strict=True)]
            _check_parts(say, names)
            return head, split[0], [segment for segment in split[1:] if segment], tail
    raise _too_clever(say)


def _fill(say: SayGoal, goal: str | None, aspects: Mapping[str, str]) -> str:
    """The wording with marks in the place of numbers."""
    return render_wording(say, goal, aspects)


def _around(segment: str, mark: str) -> Segment:
    before, found, after = segment.partition(mark)
    if not found or mark in after:
        raise SettingsError(
            f"the wording prints a number {segment.count(mark)} times where it is said",
            remedy="print goal and each aspect's value once, without changing them",
        )
    return before, after


def _check_parts(say: SayGoal, names: list[str]) -> None:
    """Marks must behave as numbers do: the wording may not look at a number's value."""
    marks = {name: _ASPECT.format(index) for index, name in enumerate(names)}
    for value, subset in itertools.product((say.low, say.high, (say.low + say.high) / 2), _subsets(names)):
        shown = print_goal(say, value)
        text = _fill(say, _GOAL.format(0), {name: marks[name] for name in subset})
        for mark in (_GOAL.format(0), *marks.values()):
            text = text.replace(mark, shown)
        if text != goal_text(say, value, dict.fromkeys(subset, value)):
            raise _too_clever(say)


def _subsets(names: list[str]) -> list[list[str]]:
    return [names, [], *([name for name in names if name != left_out] for left_out in names)]


def _too_clever(say: SayGoal) -> SettingsError:
    return SettingsError(
        f"the wording does more with its numbers than print them, so it cannot become a chat template: {say.wording!r}",
        remedy="let goal and aspects be printed one after the other, each with its own text",
    )


def _said_before(content: str) -> str:
    parts = "[{'type': 'text', 'text': pb.text + '\\n\\n'}]"
    return f"(pb.text + '\\n\\n' + {content} if {content} is string else {parts} + {content})"


def _said_after(content: str) -> str:
    parts = "[{'type': 'text', 'text': '\\n\\n' + pb.text}]"
    return f"({content} + '\\n\\n' + pb.text if {content} is string else {content} + {parts})"


_IN_SYSTEM = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'system', 'content': " + _said_before("messages[0]['content']") + "}]"
    " + messages[1:] -%}"
    "{%- else -%}{%- set messages = [{'role': 'system', 'content': pb.text}] + messages -%}{%- endif -%}"
)


def _in_turn(which: str, content: str) -> str:
    return (
        "{%- set pb_turn = namespace(at=-1) -%}{%- for message in messages -%}"
        "{%- if message['role'] == 'user'" + which + " -%}{%- set pb_turn.at = loop.index0 -%}{%- endif -%}"
        "{%- endfor -%}{%- if pb_turn.at >= 0 -%}"
        "{%- set messages = messages[:pb_turn.at] + [{'role': 'user', 'content': " + content + "}]"
        " + messages[pb_turn.at + 1:] -%}{%- endif -%}"
    )


_PLACEMENTS: dict[str, str] = {
    "system": _IN_SYSTEM,
    "user": _in_turn(" and pb_turn.at < 0", _said_before("messages[pb_turn.at]['content']")),
    "after": _in_turn("", _said_after("messages[pb_turn.at]['content']")),
}
