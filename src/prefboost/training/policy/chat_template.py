"""Chat templates that ask for the top score by themselves.

A saved policy's template begins with a few lines of plain Jinja that build a new list of messages, with the goal said
exactly as `prefboost.chat.place_goal` says it in training data; the model's own template follows verbatim. Only
constructs that transformers (whose renderer vLLM uses), llama.cpp's engine and minja all have are used.

    apply_chat_template(messages)                         the top score
    apply_chat_template(messages, goal=7)                 another score
    apply_chat_template(messages, aspects={"style": 3})   other aspects
    apply_chat_template(messages, goal=False)             nothing is said
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from prefboost.chat import Place, SayGoal, goal_text
from prefboost.chat.goal_text import print_goal, render_wording, round_number
from prefboost.chat.rendering import ChatEncoder
from prefboost.errors import ModelError, SettingsError

__all__ = ["let_template_merge", "merge_in_template", "original_template", "rewrite_template"]

_BEGIN = "{#- prefboost: says the goal -#}"
_END = "{#- prefboost: the model's own template follows -#}{{- '' }}"
_MERGE = "{#- prefboost: merges the system message -#}"
_GOAL, _ASPECT = "\ue000{}\ue001", "\ue002{}\ue003"


def rewrite_template(
    template: str,
    say: SayGoal,
    top: float | None,
    aspects: Mapping[str, float] | None = None,
    place: Place | None = None,
) -> str:
    """Rewrite a template so that it says the goal by itself.

    Args:
        template: the model's own (an earlier rewriting is replaced; a system message that it merges still is).
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
        SettingsError: the wording does more with its numbers than print them.
    """
    place = place or say.place
    if place not in _PLACEMENTS:
        raise ModelError(
            f"the goal's place {place!r} is not resolved", remedy="give system, user or after (condition has chosen it)"
        )
    # Sorted, as `goal_text` prints them: the template has to give the same words.
    names = sorted(aspects or {})
    original = _extract_original(template)
    lines = [
        _BEGIN,
        *_write_goal_variables(say, top, aspects or {}),
        _write_text(say, names),
        "{%- if pb.said -%}",
        _PLACEMENTS[place],
        "{%- endif -%}",
        _MERGES_SYSTEM if _merges(template) else "",
        _END,
    ]
    return "".join(lines) + original


def merge_in_template(template: str) -> str:
    """Return the template with the system message merged into the first user turn, as `merge_system` does in training.

    Args:
        template: of a model; an earlier rewriting that says goals stays.
    """
    if _merges(template):
        return template
    if template != original_template(template):
        before, _, original = template.partition(_END)
        return f"{before}{_MERGES_SYSTEM}{_END}{original}"
    return f"{_BEGIN}{_MERGES_SYSTEM}{_END}{_extract_original(template)}"


def let_template_merge(encoder: ChatEncoder) -> None:
    """Let a tokenizer's template merge system messages itself, where training had to: inference renders the same then.

    Args:
        encoder: of the training; the template of its tokenizer is changed in place.
    """
    if not encoder.merges_system or not encoder.merges_always:
        return
    template = encoder.tokenizer.chat_template
    encoder.tokenizer.chat_template = (
        {name: merge_in_template(text) for name, text in template.items()}
        if isinstance(template, dict)
        else merge_in_template(template)
    )


def _merges(template: str) -> bool:
    return template.startswith(_BEGIN) and _MERGE in template.partition(_END)[0]


def _extract_original(template: str) -> str:
    """Return the model's own template as it can stand behind other text in its line."""
    original = original_template(template)
    # transformers renders with lstrip_blocks, which acts on the beginning of a line only.
    stripped = original.lstrip(" \t")  # what lstrip_blocks would remove were it still at the beginning
    return stripped if stripped.startswith(("{%", "{#")) else original


def original_template(template: str) -> str:
    """Return the model's own template, without an earlier rewriting."""
    return template.partition(_END)[2] if template.startswith(_BEGIN) and _END in template else template


def _quote(text: str) -> str:
    """Quote a text as a Jinja string."""
    # The backslash first: the others add backslashes of their own.
    for char, escaped in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(char, escaped)
    return f"'{text}'"


def _print_number(value: float) -> str:
    return f"{value:.10f}".rstrip("0").rstrip(".") or "0"


def _write_goal_variables(say: SayGoal, top: float | None, aspects: Mapping[str, float]) -> list[str]:
    """Write the lines that set pb_goal (a number, or none) and pb_0, pb_1, ... (one per aspect, by name)."""
    default = "none" if top is None else _print_number(round_number(top, say.digits))
    lines = [
        f"{{%- set pb_goal = {default} -%}}",
        "{%- set pb = namespace(said=false, text='', number='', sign='', value=0, rest=0, digit=0, band=0) -%}",
        "{%- set pb_off = false -%}",
        "{%- if goal is defined -%}{%- set pb_goal = goal -%}",
        "{%- if goal is none or goal is boolean or goal == 'none' -%}",
        f"{{%- if goal == true and goal is boolean -%}}{{%- set pb_goal = {default} -%}}",
        "{%- else -%}{%- set pb_goal = none -%}{%- set pb_off = true -%}{%- endif -%}",
        "{%- endif -%}{%- endif -%}",
    ]
    names = sorted(aspects)
    names_literal = f"[{', '.join(map(_quote, names))}]"
    refusal = _quote(f"this model was trained with the aspects {', '.join(names) or 'none'}; not with: ")
    lines += [
        "{%- if aspects is defined and aspects is mapping -%}{%- for name in aspects -%}",
        f"{{%- if name not in {names_literal} -%}}{{{{- raise_exception({refusal} + name) -}}}}{{%- endif -%}}",
        "{%- endfor -%}{%- endif -%}",
    ]
    for index, name in enumerate(names):
        key = _quote(name)
        lines += [
            f"{{%- set pb_{index} = none -%}}",
            "{%- if aspects is defined and aspects is mapping -%}",
            f"{{%- if {key} in aspects -%}}{{%- set pb_{index} = aspects[{key}] -%}}{{%- endif -%}}",
            "{%- elif not pb_off and (aspects is not defined or aspects is none) -%}",
            f"{{%- set pb_{index} = {_print_number(round_number(aspects[name], say.digits))} -%}}{{%- endif -%}}",
        ]
    return lines


def _write_number(variable: str, say: SayGoal) -> str:
    """Write the lines that set pb.number to a goal as `prefboost.chat.goal_text` prints it; a string stays as it is.

    The digits are computed, since llama.cpp's engine and minja have no ``round``, and engines print floats each their
    own way.
    """
    # Numbers are scaled to integers, rounded half up, and printed digit by digit.
    ones = 10**say.digits
    units = [10**power for power in reversed(range(say.digits))]
    lines = [
        f"{{%- if {variable} is string -%}}{{%- set pb.number = {variable} -%}}{{%- else -%}}",
        f"{{%- set pb.sign = '' -%}}{{%- set pb.value = {variable} -%}}",
        "{%- if pb.value < 0 -%}{%- set pb.sign = '-' -%}{%- set pb.value = 0 - pb.value -%}{%- endif -%}",
        f"{{%- set pb.rest = (pb.value * {ones} + 0.5) | int -%}}{{%- set pb.value = pb.rest / {ones}.0 -%}}",
        "{%- if pb.rest == 0 -%}{%- set pb.sign = '' -%}{%- endif -%}",
        f"{{%- set pb.digit = (pb.rest / {ones}) | int -%}}{{%- set pb.rest = pb.rest - pb.digit * {ones} -%}}",
        "{%- set pb.number = pb.sign + (pb.digit | string) -%}",
        "{%- if pb.sign == '-' -%}{%- set pb.value = 0 - pb.value -%}{%- endif -%}",
    ]
    if units:
        lines += [
            "{%- if pb.rest > 0 -%}{%- set pb.number = pb.number + '.' -%}",
            f"{{%- for unit in {units} -%}}{{%- if pb.rest > 0 -%}}",
            "{%- set pb.digit = (pb.rest / unit) | int -%}{%- set pb.rest = pb.rest - pb.digit * unit -%}",
            "{%- set pb.number = pb.number + (pb.digit | string) -%}",
            "{%- endif -%}{%- endfor -%}{%- endif -%}",
        ]
    if say.levels:
        count, low, high = len(say.levels), repr(say.low), repr(say.high)
        lines += [
            f"{{%- set pb.band = {count - 1} if pb.value >= {high} else 0 if pb.value <= {low} else ",
            f"(((pb.value - {low}) / ({high} - {low}) * {count}) | int) -%}}",
            f"{{%- if pb.band > {count - 1} -%}}{{%- set pb.band = {count - 1} -%}}{{%- endif -%}}",
            f"{{%- set pb.number = [{', '.join(map(_quote, say.levels))}][pb.band] + ' (' + pb.number + ')' -%}}",
        ]
    return "".join(lines) + "{%- endif -%}"


def _write_text(say: SayGoal, names: list[str]) -> str:
    """Write the lines that put the wording, with its numbers, into pb.text; pb.said tells whether anything is said."""
    parts = _split_parts(say, names)
    lines = [f"{{%- set pb.text = {_quote(parts.head)} -%}}"]
    for variable, segment in zip(["pb_goal", *(f"pb_{i}" for i in range(len(names)))], parts.segments, strict=True):
        if segment is not None:
            before, after = map(_quote, segment)
            lines += [
                f"{{%- if {variable} is not none -%}}{{%- set pb.said = true -%}}{_write_number(variable, say)}",
                f"{{%- set pb.text = pb.text + {before} + pb.number + {after} -%}}{{%- endif -%}}",
            ]
    if parts.goal_needed:
        lines.append("{%- if pb_goal is none -%}{%- set pb.said = false -%}{%- endif -%}")
    return "".join(lines) + f"{{%- set pb.text = pb.text + {_quote(parts.tail)} -%}}"


Segment = tuple[str, str]
"""The text before and behind a number."""


@dataclass(frozen=True)
class _Parts:
    """The wording as head + a segment for the goal and for each aspect that is said + tail."""

    head: str
    segments: tuple[Segment | None, ...]
    tail: str
    goal_needed: bool = False


def _split_parts(say: SayGoal, names: list[str]) -> _Parts:
    """Take the wording apart by filling it with marks in the place of numbers."""
    goal = _GOAL.format(0)
    marks = {name: _ASPECT.format(index) for index, name in enumerate(names)}
    # Private-use characters mark the numbers: no wording contains them, and filters leave them alone.
    single = [{name: mark} for name, mark in marks.items()]
    everything = render_wording(say, goal, marks)
    optional = _split_wording(
        render_wording(say, None, {}),
        [render_wording(say, goal, {}), *(render_wording(say, None, each) for each in single)],
        everything,
    )
    if optional is not None:
        head, segments, tail = optional
        parts = _Parts(head, tuple(map(_split_around, segments, [goal, *marks.values()])), tail)
    else:  # a wording that has no form without a goal
        only_goal = render_wording(say, goal, {})
        needed = _split_wording(only_goal, [render_wording(say, goal, each) for each in single], everything)
        if needed is None:
            raise _build_refusal(say)
        head, segments, tail = needed
        if goal not in head:
            head, tail = only_goal, ""
        parts = _Parts(
            "", tuple(map(_split_around, [head, *segments], [goal, *marks.values()])), tail, goal_needed=True
        )
    # Marks have to behave as numbers do: the wording may not look at a number's value.
    subsets = [names, [], *([name for name in names if name != left_out] for left_out in names)]
    # Ends and middle of the scale: a wording that branches on the value shows at one of them.
    for value, subset in itertools.product((say.low, say.high, (say.low + say.high) / 2), subsets):
        printed = print_goal(say, value)
        text = render_wording(say, goal, {name: marks[name] for name in subset})
        for mark in (goal, *marks.values()):
            text = text.replace(mark, printed)
        if text != goal_text(say, value, dict.fromkeys(subset, value)):
            raise _build_refusal(say)
    return parts


def _split_wording(none: str, singles: list[str], everything: str) -> tuple[str, list[str], str] | None:
    """Split texts: none = head + tail, each single = head + segment + tail, everything = head + all segments + tail."""
    # From the longest head on, so that a separator goes with the segment that it introduces.
    for cut in range(len(none), -1, -1):
        head, tail = none[:cut], none[cut:]
        if all(text.startswith(head) and text.endswith(tail) and len(text) >= len(none) for text in singles):
            segments = [text[cut : len(text) - len(tail)] for text in singles]
            if head + "".join(segments) + tail == everything:
                return head, segments, tail
    return None


def _split_around(segment: str, mark: str) -> Segment | None:
    if not segment:
        return None
    before, separator, after = segment.partition(mark)
    if not separator or mark in after:
        raise SettingsError(
            f"the wording prints a number {segment.count(mark)} times",
            remedy="print goal and each aspect's value once, without changing them",
        )
    return before, after


def _build_refusal(say: SayGoal) -> SettingsError:
    return SettingsError(
        f"the wording must print its numbers unchanged to become a chat template: {say.wording!r}",
        remedy="print goal and aspects one after the other, each with its own text",
    )


def _join_text(content: str, *, after: bool = False) -> str:
    """Write an expression of pb.text before (or after) a message's content, which is a string or a list of parts."""
    text = "'\\n\\n' + pb.text" if after else "pb.text + '\\n\\n'"
    parts = f"[{{'type': 'text', 'text': {text}}}]"
    if after:
        return f"({content} + {text} if {content} is string else {content} + {parts})"
    return f"({text} + {content} if {content} is string else {parts} + {content})"


_IN_SYSTEM = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'system', 'content': " + _join_text("messages[0]['content']") + "}]"
    " + messages[1:] -%}"
    "{%- else -%}{%- set messages = [{'role': 'system', 'content': pb.text}] + messages -%}{%- endif -%}"
)


def _place_in_turn(which: str, content: str) -> str:
    return (
        "{%- set pb_turn = namespace(at=-1) -%}{%- for message in messages -%}"
        "{%- if message['role'] == 'user'" + which + " -%}{%- set pb_turn.at = loop.index0 -%}{%- endif -%}"
        "{%- endfor -%}{%- if pb_turn.at >= 0 -%}"
        "{%- set messages = messages[:pb_turn.at] + [{'role': 'user', 'content': " + content + "}]"
        " + messages[pb_turn.at + 1:] -%}{%- endif -%}"
    )


_MERGES_SYSTEM = (
    _MERGE + "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set pb_first = namespace(at=-1) -%}{%- for message in messages -%}"
    "{%- if message['role'] == 'user' and pb_first.at < 0 -%}{%- set pb_first.at = loop.index0 -%}{%- endif -%}"
    "{%- endfor -%}{%- if pb_first.at >= 0 -%}"
    "{%- set pb_system = messages[0]['content'] -%}{%- set pb_user = messages[pb_first.at]['content'] -%}"
    "{%- if pb_system is string and pb_user is string -%}{%- set pb_user = pb_system + '\\n\\n' + pb_user -%}"
    "{%- else -%}"
    "{%- if pb_system is string -%}{%- set pb_system = [{'type': 'text', 'text': pb_system + '\\n\\n'}] -%}"
    "{%- else -%}{%- set pb_system = pb_system + [{'type': 'text', 'text': '\\n\\n'}] -%}{%- endif -%}"
    "{%- if pb_user is string -%}{%- set pb_user = [{'type': 'text', 'text': pb_user}] -%}{%- endif -%}"
    "{%- set pb_user = pb_system + pb_user -%}{%- endif -%}"
    "{%- set messages = messages[1:pb_first.at] + [{'role': 'user', 'content': pb_user}]"
    " + messages[pb_first.at + 1:] -%}{%- endif -%}{%- endif -%}"
)
"""Lines that do what `prefboost.chat.rendering.merge_system` does."""

_PLACEMENTS: dict[str, str] = {
    "system": _IN_SYSTEM,
    "user": _place_in_turn(" and pb_turn.at < 0", _join_text("messages[pb_turn.at]['content']")),
    "after": _place_in_turn("", _join_text("messages[pb_turn.at]['content']", after=True)),
}
