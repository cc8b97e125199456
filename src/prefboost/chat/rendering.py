"""Messages to token ids through a tokenizer's own chat template: the same rendering for training and for inference.

The tokenizer is whatever has transformers' interface (``apply_chat_template``, call, ``decode``); nothing heavy is
imported here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from functools import cached_property, lru_cache
from itertools import takewhile
from typing import Any

from prefboost.chat.contents import ContentForms, fit_contents, probe_content_forms
from prefboost.chat.faithful import find_lost_part
from prefboost.chat.messages import carries_extra, to_record, tools_of
from prefboost.errors import ModelError, TemplateRefusal

__all__ = ["ChatEncoder", "GoalRequest", "merge_system", "print_day"]

Messages = Sequence[Mapping[str, Any]]

GoalRequest = float | Mapping[str, float] | None
"""Request of a goal-conditioned policy: an overall score, a score per aspect, or nothing."""

_CUT = "\ue000prefboost: the completion was cut here\ue001"
"""Stands behind the content of a cut completion while it is rendered; private-use characters are in no text."""

_PROBE = [{"role": "user", "content": "prefboost probes the end of a turn"}, {"role": "assistant", "content": _CUT}]
_SYSTEM = {"role": "system", "content": "prefboost probes the system turn"}
_ANSWER = [{"role": "assistant", "content": "an answer"}]


class ChatEncoder:
    """Renders and encodes prompts and completions. A template that asks for a goal by itself asks for none, or for the
    one that is given.

    Args:
        tokenizer: of transformers.
        merge_system: whether a system message that the template cannot render is merged into the first user turn.
        day: that templates print as today's date; None: today.

    Raises:
        ModelError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any, *, merge_system: bool = False, day: date | None = None) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"the tokenizer of {getattr(tokenizer, 'name_or_path', None) or 'the model'} has no chat template",
                remedy="use an instruction-tuned model, or give a template: chat_template: FILE.jinja",
            )
        self.tokenizer = tokenizer
        self.merges_system = merge_system
        self.day = day
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special = set(tokenizer.all_special_ids) | {id_ for id_, token in added.items() if token.special}

    def render_prompt(self, prompt: Messages, goal: GoalRequest = None) -> str:
        """Render the prompt; it ends where the assistant begins to speak.

        Args:
            prompt: messages.
            goal: score, or score per aspect, that the template of a goal-conditioned policy asks for; None: none.

        Raises:
            TemplateRefusal: the chat template refuses the messages.
        """
        return self._render(prompt, goal, add_generation_prompt=True)

    def render_conversation(
        self, prompt: Messages, completion: Messages, *, ended: bool = True, goal: GoalRequest = None
    ) -> str:
        """Render prompt and completion together.

        Args:
            prompt, completion: messages.
            ended: False for a completion that was cut: the text stops where its last message's content stops, without
                what the template writes to end the turn. Messages with tool calls are rendered whole either way.
            goal: see `render_prompt`.

        Raises:
            TemplateRefusal: the chat template refuses the messages.
        """
        *before, last = completion
        if ended or carries_extra(last):
            return self._render([*prompt, *completion], goal, add_generation_prompt=False)
        marked = {**last, "content": f"{last['content']}{_CUT}"}
        return self._render([*prompt, *before, marked], goal, add_generation_prompt=False).partition(_CUT)[0]

    def renderable_prompt(self, prompt: Messages, completion: Messages) -> Messages:
        """Return the prompt as it can be rendered: with its system message merged where that is allowed and needed.

        Templates without a system role raise (Gemma 2), leave the message out, or write it only while no completion
        follows (Mistral 0.3), so that the prompt of training would not be the one of inference.
        """
        if not self.merges_system or prompt[0]["role"] != "system":
            return prompt
        try:
            text = self.render_prompt(prompt)
            whole = self.render_conversation(prompt, completion)
            if find_lost_part(text, prompt[:1]) is None and whole.startswith(text):
                return prompt
        except TemplateRefusal:
            pass
        return merge_system(prompt)

    @cached_property
    def merges_always(self) -> bool:
        """Whether the template renders no system message, so that each is merged, at inference as well."""
        return self.renderable_prompt([_SYSTEM, _PROBE[0]], _ANSWER) != [_SYSTEM, _PROBE[0]]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode rendered texts; the template has already written every special token."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def completion_ids(self, prompt_text: str, prompt_ids: Sequence[int], whole_text: str) -> list[int]:
        """Encode the completion, from its first token to the one that ends the turn.

        The prompt's ids stay as they are at inference. Where the whole text would be split differently across the
        border, the completion is encoded by itself; what the template writes after the end-of-turn token (a newline,
        an end of text) is left out, since no engine generates it.

        Raises:
            TemplateRefusal: the prompt is rendered differently when a completion follows.
        """
        if not whole_text.startswith(prompt_text):
            raise TemplateRefusal(
                "the chat template renders a prompt differently when a completion follows, so that prompt and "
                f"completion cannot be told apart; the prompt ends {prompt_text[-60:]!r}",
                remedy="merge a system message into the user turn (system_messages: merge), or give a chat template "
                "whose generation prompt begins every assistant turn: chat_template: FILE.jinja",
            )
        closing, end_of_turn = self._end
        if end_of_turn and whole_text.endswith(closing):
            whole_text = whole_text.removesuffix(closing) + end_of_turn
        whole_ids = self.encode([whole_text])[0]
        if whole_ids[: len(prompt_ids)] == list(prompt_ids):
            ids = whole_ids[len(prompt_ids) :]
        else:
            ids = self.encode([whole_text[len(prompt_text) :]])[0]
        end = len(ids)
        while end and ids[end - 1] not in self._special and not self.tokenizer.decode(ids[end - 1 : end]).strip():
            end -= 1
        return ids[:end] if self.ends_turn(ids[:end]) else ids

    def ends_turn(self, ids: Sequence[int]) -> bool:
        """Return whether the last token is one that can end a turn, so that a model may learn to stop there."""
        return bool(ids) and ids[-1] in self._special

    @cached_property
    def _forms(self) -> ContentForms:
        """Forms of contents that the template writes."""
        apply = self.tokenizer.apply_chat_template
        return probe_content_forms(lambda messages: apply(messages, tokenize=False, goal=False))

    def _render(self, messages: Messages, goal: GoalRequest = None, *, add_generation_prompt: bool) -> str:
        records = fit_contents([to_record(message) for message in messages], self._forms)
        tools = tools_of(messages)
        options: dict[str, Any] = {} if tools is None else {"tools": tools}
        if self.day is not None and "strftime_now" in str(self.tokenizer.chat_template):
            options["chat_template"] = print_day(self.tokenizer.get_chat_template(tools=tools), self.day)
        if isinstance(goal, Mapping):
            # Of a vector nothing is said but what it names, no overall score either.
            options["aspects"], goal = dict(goal), None
        try:
            text: str = self.tokenizer.apply_chat_template(
                records,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                goal=False if goal is None else goal,
                **options,
            )
        except ModelError:
            raise
        except Exception as error:  # a template is code of the model's author and may raise anything
            roles = [str(message["role"]) for message in messages]
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise TemplateRefusal(
                f"the chat template refuses messages with roles {', '.join(roles)}: {reason}",
                remedy=_SYSTEM_REMEDY if roles[0] == "system" else _REMEDY,
            ) from error
        return text

    @cached_property
    def _end(self) -> tuple[str, str]:
        """Text that the template writes after the last answer, and its beginning up to the token that ends the turn."""
        # A template may write more at the end of a conversation (Phi 3: an end of text) than at the end of a turn. The
        # beginning that both share ends the turn; where it has no special token, the first special tokens end it.
        try:
            last = self._render(_PROBE, add_generation_prompt=False).partition(_CUT)[2]
            inside = self._render([*_PROBE, _PROBE[0]], add_generation_prompt=False).partition(_CUT)[2]
        except TemplateRefusal:
            return "", ""
        names = [self.tokenizer.convert_ids_to_tokens(number) for number in self._special]
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        special = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        pieces, others = ([piece for piece in special.split(text) if piece] for text in (last, inside))
        same = takewhile(lambda both: both[0] == both[1], zip(pieces, others, strict=False))
        common = [piece for piece, _ in same]
        while common and not special.fullmatch(common[-1]):
            common.pop()
        if not common:
            first = next((at for at, piece in enumerate(pieces) if special.fullmatch(piece)), len(pieces))
            run = list(takewhile(special.fullmatch, pieces[first:]))
            common = pieces[:first] + run if run else []
        return last, "".join(common)


_REMEDY = "leave such rows out, or give another template: chat_template: FILE.jinja"
_SYSTEM_REMEDY = (
    "merge system messages into the user turn (system_messages: merge), place the goal in the user turn (place: user) "
    "where it is all that they say, or give another template: chat_template: FILE.jinja"
)


def merge_system(prompt: Messages) -> Messages:
    """Put the system message's text in front of the first user turn's, a blank line between; without either: as it is.

    Keys that the system message has besides (tools of the conversation) go to the user turn.
    """
    first = next((at for at, message in enumerate(prompt) if message["role"] == "user"), None)
    if not prompt or prompt[0]["role"] != "system" or first is None:
        return prompt
    system, user = prompt[0], prompt[first]
    merged = {**user, "content": f"{system['content']}\n\n{user['content']}"}
    if system.get("extra") and not user.get("extra"):
        merged["extra"] = system["extra"]
    return [*prompt[1:first], merged, *prompt[first + 1 :]]


@lru_cache(maxsize=16)
def print_day(template: str, day: date) -> str:
    """Return a chat template whose ``strftime_now`` prints noon of a day, whatever format it is called with.

    transformers lets nobody replace its function and turns functions among the variables into texts. A macro of the
    same name shadows it: it replaces each directive of the format by what it prints.
    """
    noon = datetime.combine(day, time(12))
    names = [f"%{letter}" for letter in _DIRECTIVES] + [f"%-{letter}" for letter in _UNPADDED]
    # A doubled percent sign is no directive; it waits as a private-use character.
    pairs = [("%%", "\ue002"), *((name, noon.strftime(name)) for name in names), ("\ue002", "%")]
    replaced = "".join(f" | replace({json.dumps(name)}, {json.dumps(text)})" for name, text in pairs)
    # Blanks before a block at the beginning would be removed there, and are not in the middle of a line.
    stripped = template.lstrip(" \t")
    body = stripped if stripped.startswith(("{%", "{#")) else template
    return f"{{%- macro strftime_now(format) -%}}{{{{- format{replaced} -}}}}{{%- endmacro -%}}{{{{- '' }}}}{body}"


_DIRECTIVES = "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ"
_UNPADDED = "deHIjklmMSUVWyu"
"""Letters of strftime's directives; the second also stand behind a minus sign, without leading zeros."""
