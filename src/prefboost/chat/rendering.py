"""Messages to token ids through a tokenizer's own chat template: the same rendering for training and for inference.

The tokenizer is whatever has transformers' interface (``apply_chat_template``, call, ``decode``); nothing heavy is
imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prefboost.chat.messages import to_record
from prefboost.errors import ModelError

__all__ = ["ChatEncoder"]

Messages = Sequence[Mapping[str, Any]]

_CUT = "\ue000prefboost: the completion was cut here\ue001"
"""Stands behind the content of a cut completion while it is rendered; private-use characters are in no text."""


class ChatEncoder:
    """Renders and encodes prompts and completions. A template that asks for a goal by itself is told not to.

    Args:
        tokenizer: of transformers.

    Raises:
        ModelError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                f"the tokenizer of {getattr(tokenizer, 'name_or_path', None) or 'the model'} has no chat template",
                remedy="take an instruction-tuned model, or give a template: chat_template: FILE.jinja",
            )
        self.tokenizer = tokenizer
        self._special = set(tokenizer.all_special_ids) | {
            number for number, token in getattr(tokenizer, "added_tokens_decoder", {}).items() if token.special
        }

    def prompt_text(self, prompt: Messages) -> str:
        """The rendered prompt, ending where the assistant begins to speak."""
        return self._render(prompt, add_generation_prompt=True)

    def whole_text(self, prompt: Messages, completion: Messages, *, ended: bool = True) -> str:
        """Prompt and completion rendered together.

        Args:
            prompt, completion: messages.
            ended: False for a completion that was cut: the text stops where its last message's content stops, without
                what the template writes to end the turn. Messages with tool calls are rendered whole either way.

        Raises:
            ModelError: the chat template refuses the messages.
        """
        *before, last = completion
        if ended or last.get("extra"):
            return self._render([*prompt, *completion], add_generation_prompt=False)
        marked = {**last, "content": f"{last['content']}{_CUT}"}
        return self._render([*prompt, *before, marked], add_generation_prompt=False).partition(_CUT)[0]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts; the template has already written every special token."""
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return ids

    def completion_ids(self, prompt_text: str, prompt_ids: Sequence[int], whole_text: str) -> list[int]:
        """Token ids of the completion, from its first token to the one that ends the turn.

        The prompt's ids stay as they are at inference. Where the whole text would be split differently across the
        border, the completion is encoded by itself; what the template writes after the end-of-turn token (a newline)
        is left out, since no engine generates it.
        """
        if not whole_text.startswith(prompt_text):
            raise ModelError(
                "the chat template renders a prompt differently when a completion follows, so that prompt and "
                f"completion cannot be told apart; the prompt ends {prompt_text[-60:]!r}",
                remedy="give a chat template whose generation prompt begins every assistant turn: "
                "chat_template: FILE.jinja",
            )
        whole_ids = self.encode([whole_text])[0]
        if whole_ids[: len(prompt_ids)] == list(prompt_ids):
            ids = whole_ids[len(prompt_ids) :]
        else:
            ids = self.encode([whole_text[len(prompt_text) :]])[0]
        return self._until_end_of_turn(ids)

    def prompt_and_completion(self, prompt: Messages, completion: Messages) -> tuple[list[int], list[int]]:
        """Token ids of a prompt and of its completion."""
        prompt_text = self.prompt_text(prompt)
        prompt_ids = self.encode([prompt_text])[0]
        return prompt_ids, self.completion_ids(prompt_text, prompt_ids, self.whole_text(prompt, completion))

    def _render(self, messages: Messages, *, add_generation_prompt: bool) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(
                [to_record(message) for message in messages],
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                goal=False,
            )
        except ModelError:
            raise
        except Exception as error:  # a template is code of the model's author: it may raise anything
            roles = ", ".join(str(message["role"]) for message in messages)
            raise ModelError(
                f"the chat template refuses messages with roles {roles}: {str(error).splitlines()[0][:200]}",
                remedy="place the goal in the user turn (place: user), or give another template: "
                "chat_template: FILE.jinja",
            ) from error
        return text

    def _until_end_of_turn(self, ids: list[int]) -> list[int]:
        end = len(ids)
        while end and ids[end - 1] not in self._special and not self.tokenizer.decode(ids[end - 1 : end]).strip():
            end -= 1
        return ids[:end] if end and ids[end - 1] in self._special else ids
