"""Probe a chat template: it keeps a system message, merges it into the user turn, drops it, or refuses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Render", "TemplateProbe", "probe_template"]

Render = Callable[[Sequence[Mapping[str, Any]]], str]
"""Messages -> rendered text (tokenizer.apply_chat_template with tokenize=False); may raise anything."""

SystemRole = Literal["kept", "merged", "dropped", "refused"]

_SYSTEM, _USER = "prefboost probes the system turn 7", "prefboost probes the user turn 3"
_ANSWERS = ("first answer", "another one, and longer")


@dataclass(frozen=True)
class TemplateProbe:
    """Treatment of a system message by a chat template.

    Args:
        system_role: kept: a turn of its own, in front; merged: text inside the user turn; dropped: no text at all;
            refused: the template raises.
        same_prompt: whether the rendered prompt is the same text in front of two different completions.
        place: where the goal should stand: system where the role is kept, else user.
    """

    system_role: SystemRole
    same_prompt: bool

    @property
    def place(self) -> Literal["system", "user"]:
        """The place of a goal that this template renders."""
        return "system" if self.system_role == "kept" else "user"


def probe_template(render: Render) -> TemplateProbe:
    """Render small conversations and find where the text ends up.

    Args:
        render: renders messages as the tokenizer's chat template does.

    Returns:
        the treatment of a system message, and whether both sides of a pair get the same prompt.
    """
    system, user = {"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}
    role: SystemRole = "dropped"
    try:
        _, sign, behind = render([system, user]).partition(_SYSTEM)
    except Exception:  # a template is foreign code, so any error is a refusal
        role = "refused"
    else:
        between, question, _ = behind.partition(_USER)
        # A template with a true system role ends the turn and begins another: more than white space is between.
        if sign:
            role = "kept" if question and between.strip() else "merged"
    prompt = [system, user] if role == "kept" else [user]
    sides = [render([*prompt, {"role": "assistant", "content": answer}]) for answer in _ANSWERS]
    starts = [side[: side.rindex(answer)] for side, answer in zip(sides, _ANSWERS, strict=True) if answer in side]
    return TemplateProbe(role, len(starts) == len(_ANSWERS) and len(set(starts)) == 1)
