"""Read the prompt files that models are asked with: Jinja, shipped or the user's own, rendered in a sandbox.

Prompts and completions are values of a template, never templates themselves, and cannot begin a turn of a chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefboost.engines.engine import Request
from prefboost.scoring.fencing import without_turn_marks
from prefboost.scoring.template_file import TemplateFile, load_template

__all__ = ["PROMPTS", "PromptTemplate", "load_prompt", "strip_marks", "list_turns"]

PROMPTS = ("rmboost", "clair", "rlcd", "criteria")
"""Files that come with prefboost."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt file; its identity stands in every pair's lineage."""

    file: TemplateFile

    @property
    def identity(self) -> str:
        """Name of the file and a hash of its text."""
        return self.file.identity

    def text(self, **values: Any) -> str:
        """Render the text.

        Raises:
            SettingsError: the template asks for something that it is not given, or fails.
        """
        return self.file.run(lambda jinja: str(jinja.render(**values)), ", ".join(values)).strip()

    def request(self, sample: int = 0, **values: Any) -> Request:
        """Render the text as a user's turn."""
        return Request([{"role": "user", "content": self.text(**values), "extra": None}], sample)


def load_prompt(name: str) -> PromptTemplate:
    """Read a prompt file.

    Args:
        name: one of `PROMPTS`, or the path of a Jinja file.

    Raises:
        SettingsError: there is no such file, or it is no Jinja.
    """
    return PromptTemplate(load_template(name, PROMPTS, Path(__file__).with_name("prompts"), "the prompt file"))


def strip_marks(text: str) -> str:
    """Strip marks of chat templates and outer white space from a text that is to stand in a prompt."""
    return without_turn_marks(text).strip()


def list_turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """List role and content of every turn, as a template sees a conversation."""
    return [{"role": str(message["role"]), "content": strip_marks(str(message["content"]))} for message in messages]
