"""``prefboost chat``: talk to a model that can be asked for a score."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefboost.engines.reasoning import answer_of
from prefboost.errors import PrefboostError

if TYPE_CHECKING:
    from prefboost.engines.engine import Sampling
    from prefboost.engines.goal_requests import Ask
    from prefboost.engines.local.engine import LocalEngine

__all__ = ["Conversation", "chat_command"]

_HELP = "/goal 3 asks for another score, /goal for the model's default; /system TEXT; /reset; /quit"


def chat_command(
    model: Annotated[str, typer.Argument(help="A folder, a hub id, or package:NAME.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, e.g. temperature=0.7 max_tokens=512")
    ] = None,
    goal: Annotated[float | None, typer.Option(help="The score to ask for; default: the model's own.")] = None,
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the answers.")] = False,
) -> None:
    """Talk to a model. Commands: /goal 3, /system TEXT, /reset, /quit."""
    from prefboost.cli.generate import read_generate
    from prefboost.engines.goal_requests import asker
    from prefboost.engines.local.engine import LocalEngine
    from prefboost.errors import SettingsError

    if goal is not None and not math.isfinite(goal):
        raise SettingsError(f"--goal {goal} is not a number", remedy="write e.g. --goal 3")
    settings = read_generate(model, overrides or [])
    engine: Any = settings.engine.open()
    if not isinstance(engine, LocalEngine):
        raise SettingsError(f"prefboost chat cannot use {model}", remedy="give a folder, a hub id, or package:NAME")
    talk = Conversation(engine, settings.sampling, asker(engine, settings.condition), goal, system)
    at_terminal = sys.stdin.isatty() and not quiet
    if at_terminal:
        print(_HELP)
    for line in _lines(at_terminal, lambda: f"you ({talk.asked})> "):
        for piece in talk.hear(line):
            print(piece, end="", flush=True)
        print(flush=True)
        if talk.over:
            break


@dataclass
class Conversation:
    """A conversation with a model, and the score that is asked for."""

    engine: LocalEngine
    sampling: Sampling
    ask: Ask
    goal: float | None = None
    system: str = ""
    over: bool = False
    turns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def asked(self) -> str:
        """The score that is asked for, as text."""
        return "default" if self.goal is None else f"goal {self.goal:g}"

    def hear(self, line: str) -> Iterator[str]:
        """Answer a line: a command with its effect, other text with the model's words, piece by piece."""
        if line.startswith("/"):
            name, _, rest = line[1:].partition(" ")
            yield self.obey(name, rest.strip())
            return
        front = [_message("system", self.system)] if self.system else []
        turns = [*self.turns, _message("user", line)]
        pieces = []
        try:
            for piece in self.engine.stream(self.ask([*front, *turns], self.goal, 0), self.sampling):
                pieces.append(piece)
                yield piece
        except PrefboostError as error:  # e.g. a template without a system role: the conversation stays as it was
            yield f"[{error}]"
            return
        # Chat templates drop the thoughts of earlier turns, and so does training on several turns.
        self.turns = [*turns, _message("assistant", answer_of("".join(pieces)))]

    def obey(self, command: str, text: str) -> str:
        """Carry out a command (goal, system, reset or quit) and return its effect in words."""
        match command:
            case "goal":
                try:
                    goal = float(text) if text else None
                except ValueError:
                    goal = math.nan
                if goal is not None and not math.isfinite(goal):
                    return f"{text!r} is not a number; write e.g. /goal 3"
                self.goal = goal
                return f"[asks for: {self.asked}]"
            case "system":
                self.system = text
                return "[system message set]" if text else "[no system message]"
            case "reset":
                self.turns = []
                return "[a new conversation]"
            case "quit":
                self.over = True
                return "[bye]"
        return f"no command /{command}; {_HELP}"


def _message(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content, "extra": None}


def _lines(at_terminal: bool, mark: Callable[[], str]) -> Iterable[str]:
    while True:
        try:
            line = input(mark() if at_terminal else "")
        except EOFError:
            return
        if line.strip():
            yield line.strip()
