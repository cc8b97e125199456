"""Read the prompt files that models are asked with: Jinja, shipped or the user's own, rendered in a sandbox.

Prompts and completions are values of a template, never templates themselves, and cannot begin a turn of a chat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefboost.engines.engine import Request
from prefboost.errors import Place, SettingsError
from prefboost.scoring.fencing import without_turn_marks

__all__ = ["PROMPTS", "PromptTemplate", "load_prompt", "strip_marks", "list_turns"]

PROMPTS = ("rmboost", "clair", "rlcd", "criteria")
"""Files that come with prefboost."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt file.

    Args:
        name: of a shipped file, or a path.
        identity: name of the file and a hash of its text: stands in every pair's lineage.
        source: the text.
    """

    name: str
    identity: str
    source: str
    compiled: Any = field(repr=False, compare=False)

    def text(self, **values: Any) -> str:
        """Render the text.

        Raises:
            SettingsError: the template asks for something that it is not given, or fails.
        """
        from jinja2 import TemplateError

        try:
            return str(self.compiled.render(**values)).strip()
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise _build_error(self.name, error, values) from error

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
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    path = Path(__file__).with_name("prompts") / f"{name}.jinja" if name in PROMPTS else Path(name)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"the prompt file cannot be read: {getattr(error, 'strerror', None) or 'it is no UTF-8'}",
            remedy=f"name a Jinja file, or one of {', '.join(PROMPTS)}",
            place=Place(name),
        ) from error
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    try:
        # Sandboxed: the file is the user's, but its values are texts of models and data.
        compiled = environment.from_string(source)
    except TemplateError as error:
        raise _build_error(name, error, {}) from error
    return PromptTemplate(name, f"{path.stem}/{hashlib.sha256(source.encode()).hexdigest()[:16]}", source, compiled)


def strip_marks(text: str) -> str:
    """Strip marks of chat templates and outer white space from a text that is to stand in a prompt."""
    return without_turn_marks(text).strip()


def list_turns(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """List role and content of every turn, as a template sees a conversation."""
    return [{"role": str(message["role"]), "content": strip_marks(str(message["content"]))} for message in messages]


def _build_error(name: str, error: Exception, values: Mapping[str, Any]) -> SettingsError:
    return SettingsError(
        f"the prompt file fails: {error}",
        remedy=f"it sees {', '.join(values) or 'the values that the shipped file of that method uses'}, "
        "and can include no other file",
        place=Place(name, line=getattr(error, "lineno", None)),
    )
