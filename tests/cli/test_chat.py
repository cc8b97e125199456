"""`prefboost chat` with piped input."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefboost.cli.chat import Conversation
from prefboost.cli.main import main
from prefboost.engines.engine import Request, Sampling
from prefboost.errors import ModelError


class Echo:
    """Says what it was asked."""

    def stream(self, request: Request, sampling: Sampling) -> Iterator[str]:
        yield from (f"{message['role'][0]}:{message['content']} " for message in request.prompt)
        yield f"goal {request.goal}"


def conversation(**changes: Any) -> Conversation:
    engine: Any = Echo()
    return Conversation(engine, Sampling(), lambda prompt, goal, sample: Request(prompt, sample, goal), **changes)


def test_turns_add_up_until_they_are_reset() -> None:
    talk = conversation(goal=10.0)
    assert "".join(talk.hear("Hi")) == "u:Hi goal 10.0"
    assert "".join(talk.hear("More")) == "u:Hi a:u:Hi goal 10.0 u:More goal 10.0"
    assert "".join(talk.hear("/reset")) == "[a new conversation]"
    assert "".join(talk.hear("Hi")) == "u:Hi goal 10.0"


def test_goal_and_system_message_can_be_switched() -> None:
    talk = conversation(system="Be brief.")
    assert "".join(talk.hear("Hi")).startswith("s:Be brief. u:Hi")
    assert "".join(talk.hear("/goal 3")) == "[asks for: goal 3]"
    assert "".join(talk.hear("/goal high")) == "'high' is not a number; write e.g. /goal 3"
    assert "".join(talk.hear("/goal inf")) == "'inf' is not a number; write e.g. /goal 3"
    assert talk.goal == 3
    assert "".join(talk.hear("/goal")) == "[asks for: default]"
    assert "".join(talk.hear("/system")) == "[no system message]"
    assert "".join(talk.hear("/frob")).startswith("no command /frob; /goal 3")
    assert not talk.over
    assert "".join(talk.hear("/quit")) == "[bye]"
    assert talk.over


def test_what_the_template_refuses_is_said_and_the_conversation_stands() -> None:
    talk = conversation()

    def refuse(prompt: Any, goal: Any, sample: int) -> Request:
        raise ModelError("the chat template refuses it", remedy="ask otherwise")

    talk.hear("/system Be brief.")
    "".join(talk.hear("Hi"))
    talk.ask = refuse
    assert "".join(talk.hear("More")) == "[the chat template refuses it\n  -> ask otherwise]"
    assert len(talk.turns) == 2
    assert not talk.over


@pytest.mark.torch
def test_a_model_answers_piped_lines_until_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.training.conftest import build_folder

    folder = build_folder(tmp_path / "model")
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi\n\n/goal 3\nHi\n/quit\nnever read\n"))
    assert main(["chat", str(folder), "--goal", "10", "temperature=0", "max_tokens=8", "dtype=float32"]) == 0
    shown = capsys.readouterr().out
    assert "[asks for: goal 3]" in shown
    assert shown.endswith("[bye]\n")


@pytest.mark.parametrize("goal", ["inf", "nan"])
def test_a_goal_is_a_number(goal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "anything", "--goal", goal]) == 2
    assert "is not a number" in capsys.readouterr().err


def test_a_recording_cannot_be_talked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    assert main(["chat", f"replay:{tmp_path / 'a.jsonl'}"]) == 2
    assert "prefboost chat cannot use" in capsys.readouterr().err
